"""Folders signed and verified: what is missing, extra or changed is named."""

import os
from pathlib import Path, PurePosixPath
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from variegate.errors import InputError, NotFoundError, VerificationError
from variegate.files import file_error, sha256_file
from variegate.signing.bundle import IGNORED, SignedFiles, read_bundle, sign_files

_MAX_FILES: Final = 10_000


def sign_folder(folder: str | Path, key: ec.EllipticCurvePrivateKey, *, name: str | None = None) -> bytes:
    """Return the bundle over every file in a folder, to be written to `BUNDLE_FILE` inside it.

    Args:
        folder: what to sign; what is there under `BUNDLE_FILE` is left out, and what belongs to git.
        key: the seller's signing key.
        name: what the statement calls the folder; its own name by default.

    Raises:
        InputError: if the folder holds a link, a pipe or a device, or more than 10,000 files, or cannot be read.
        NotFoundError: if there is no such folder.
    """
    folder = Path(folder)
    found = {file: sha256_file(folder / file) for file in _list(folder, IGNORED)}
    if not found:
        raise InputError(f"there is nothing to sign in {folder}: expected one file or more")
    return sign_files(found, key, name=name if name is not None else folder.resolve().name or "folder")


def compare_folder(folder: str | Path, signed: SignedFiles) -> None:
    """Check that a folder holds exactly the files that were signed.

    Raises:
        NotFoundError: if there is no such folder.
        VerificationError: names what is missing, extra or changed, or cannot be read.
    """
    folder = Path(folder)
    try:
        found = set(_list(folder, signed.ignored))
        changed = [
            file for file in sorted(found & signed.files.keys()) if sha256_file(folder / file) != signed.files[file]
        ]
    except InputError as error:
        raise VerificationError(f"the folder cannot be compared with what was signed: {error}") from error
    missing, extra = sorted(signed.files.keys() - found), sorted(found - signed.files.keys())
    kinds = (("changed", changed), ("missing", missing), ("not signed", extra))
    problems = [f"{what}: {_some(names)}" for what, names in kinds if names]
    if problems:
        raise VerificationError(f"the files in {folder} are not those that were signed; {'; '.join(problems)}")


def verify_folder(folder: str | Path, bundle: bytes, public_key: ec.EllipticCurvePublicKey) -> SignedFiles:
    """Check a folder against a bundle that `sign_folder` or `model_signing sign key` made; return what was signed.

    Raises:
        NotFoundError: if there is no such folder.
        VerificationError: names what differs: the bundle's form, the key, the signature, or the files.
    """
    signed = read_bundle(bundle, public_key)
    compare_folder(folder, signed)
    return signed


def _list(folder: Path, ignored: tuple[str, ...]) -> list[str]:
    """Relative paths with / of all regular files below `folder`, sorted; refuses everything else that is there."""
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}; check the path")
    found: list[str] = []
    waiting = [PurePosixPath()]
    skipped = [PurePosixPath(path) for path in ignored]
    try:
        while waiting:
            below = waiting.pop()
            with os.scandir(folder / below) as entries:
                for entry in entries:
                    path = below / entry.name
                    if any(path.is_relative_to(skip) for skip in skipped):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        found.append(str(path))
                    else:
                        raise InputError(f"{folder / path} is a link, a pipe or a device; expected regular files only")
                    if len(found) + len(waiting) > _MAX_FILES:
                        raise InputError(f"{folder} holds more than {_MAX_FILES} files")
    except OSError as error:
        raise file_error(error, folder, "read") from error
    return sorted(found)


def _some(names: list[str]) -> str:
    shown_ = ", ".join(ascii(name)[1:-1] for name in names[:5])
    return shown_ if len(names) <= 5 else f"{shown_} and {len(names) - 5} more"
