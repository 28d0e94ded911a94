"""Verifying an artifact in numbered steps. Imports no torch, opens no network connection, runs nothing of the artifact.

1. signature: `model.sig` is a bundle that the given public key signed.
2. files: the folder holds exactly the files that were signed, unchanged, and nothing else.
3. manifest: `manifest.json` is of a known format and fits the payload and the key.
4. identity: the copy's name is the one of its model, spec, buyer and epoch; a sealed payload names the same copy.
5. times: neither made or issued in the future nor expired, but for the skew of clocks.
6. revocation: the seller's list is rightly signed and fresh, and the copy is not on it; skipped without a list.
7. and on: the checks that the caller adds, such as a registry and its log.

After a failed step nothing of the artifact is trusted: the steps behind it are skipped.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, final

from cryptography.hazmat.primitives.asymmetric import ec

from variegate.artifacts.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, PAYLOADS, ArtifactManifest, utc_text
from variegate.artifacts.revocations import RevocationList, read_revocations
from variegate.artifacts.vgc_header import read_header_of
from variegate.errors import NotFoundError, VariegateError, VerificationError
from variegate.files import read_bounded
from variegate.manifest.canonical import canonical_json, load_json
from variegate.signing import (
    BUNDLE_FILE,
    MAX_BUNDLE_BYTES,
    SignedFiles,
    compare_folder,
    key_digest,
    read_bundle,
    read_public_key,
)

Outcome = Literal["passed", "failed", "skipped"]

STEPS: Final = ("signature", "files", "manifest", "identity", "times", "revocation")
"""The names of the steps, from number 1 on; the caller's checks follow."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What became of one step.

    Attributes:
        number: from 1 on; `verify_artifact` numbers the caller's checks itself.
        name: one of `STEPS`, or the name of the caller's check.
        outcome: "passed", "failed" or "skipped".
        detail: one sentence for a person.
    """

    number: int
    name: str
    outcome: Outcome
    detail: str


Check = Callable[[ArtifactManifest], Step]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All steps, in order.

    Attributes:
        steps: what became of each.
        manifest: the artifact's manifest, if step 3 passed; it can be trusted if `passed`.
    """

    steps: tuple[Step, ...]
    manifest: ArtifactManifest | None

    @property
    def passed(self) -> bool:
        """Whether no step failed; a skipped check of revocation does not count as a failure."""
        return self.failure is None

    @property
    def failure(self) -> Step | None:
        """The step that failed, or None."""
        return next((step for step in self.steps if step.outcome == "failed"), None)

    def require(self) -> ArtifactManifest:
        """Return the manifest of an artifact that passed.

        Raises:
            VerificationError: names the step that failed.
        """
        if self.failure is not None or self.manifest is None:
            step = self.failure or self.steps[-1]
            raise VerificationError(f"the artifact fails step {step.number} ({step.name}): {step.detail}")
        return self.manifest

    def to_dict(self) -> dict[str, Any]:
        """A fresh JSON object, as `variegate verify --json` prints it."""
        return {
            "passed": self.passed,
            "steps": [asdict(step) for step in self.steps],
            "manifest": None if self.manifest is None else self.manifest.to_dict(),
        }


def verify_artifact(
    folder: str | Path,
    *,
    public_key_pem: bytes,
    now: float,
    skew_seconds: float = 300,
    revocations: RevocationList | bytes | None = None,
    list_since: int = 0,
    checks: Sequence[Check] = (),
) -> Verification:
    """Verify the artifact in `folder`; whatever its bytes are, the answer is a `Verification`.

    Args:
        folder: the artifact.
        public_key_pem: the seller's public key, from a source that the caller trusts.
        now: Unix time in seconds.
        skew_seconds: how far the clocks of seller and verifier may differ.
        revocations: the seller's signed list, read or as bytes; None skips step 6.
        list_since: a list whose log ends before this entry fails step 6: the number of the newest list that was seen.
        checks: more steps; each takes the manifest and returns what became of it, or raises a `VariegateError`.

    Raises:
        FormatError: if the public key is not one.
        NotFoundError: if there is no such folder.
    """
    folder = Path(folder)
    key = read_public_key(public_key_pem)
    if not folder.is_dir():
        raise NotFoundError(
            f"there is no folder {folder}; give the folder that holds {MANIFEST_FILE} and {BUNDLE_FILE}"
        )
    run = _Run(folder, key, float(now), float(skew_seconds))
    acts = (
        run.signature,
        run.files,
        run.read_manifest,
        run.identity,
        run.times,
        lambda: run.revocation(revocations, list_since),
        *(_bound(check, run) for check in checks),
    )
    names = (*STEPS, *(_name(check) for check in checks))
    done: list[Step] = []
    for number, (name, act) in enumerate(zip(names, acts, strict=True), start=1):
        if any(step.outcome == "failed" for step in done):
            done.append(Step(number=number, name=name, outcome="skipped", detail="an earlier step failed"))
            continue
        try:
            step = act()
        except VariegateError as error:
            step = _failed(str(error))
        done.append(replace(step, number=number, name=step.name or name))
    return Verification(steps=tuple(done), manifest=run.manifest)


@final
class _Run:
    """What the steps of one verification hand on to each other."""

    def __init__(self, folder: Path, key: ec.EllipticCurvePublicKey, now: float, skew: float) -> None:
        self.folder, self.key, self.now, self.skew = folder, key, now, skew
        self.signed = SignedFiles(name="", files={})
        self.manifest: ArtifactManifest | None = None

    def known(self) -> ArtifactManifest:
        if self.manifest is None:
            raise VerificationError("the manifest was not read")
        return self.manifest

    def signature(self) -> Step:
        bundle = read_bounded(self.folder / BUNDLE_FILE, MAX_BUNDLE_BYTES)
        self.signed = read_bundle(bundle, self.key)
        return _passed(f"signed by the key {key_digest(self.key)[:23]}...")

    def files(self) -> Step:
        # Nothing is exempt but the signature itself, whatever the statement leaves to its verifier.
        compare_folder(self.folder, replace(self.signed, ignored=(BUNDLE_FILE,)))
        return _passed(f"{len(self.signed.files)} files are as they were signed")

    def read_manifest(self) -> Step:
        data = read_bounded(self.folder / MANIFEST_FILE, MAX_MANIFEST_BYTES)
        if hashlib.sha256(data).hexdigest() != self.signed.files.get(MANIFEST_FILE):
            raise VerificationError(f"{MANIFEST_FILE} is not among the signed files, or changed while it was read")
        values = load_json(data, MANIFEST_FILE)
        manifest = ArtifactManifest.from_dict(values)
        if canonical_json(values) != data:
            raise VerificationError(f"{MANIFEST_FILE} is not canonical JSON; export the artifact again")
        if manifest.signing_key != key_digest(self.key):
            raise VerificationError(
                f"{MANIFEST_FILE} names the signing key {manifest.signing_key[:23]}..., but the signature is that of "
                f"{key_digest(self.key)[:23]}..."
            )
        rest = {name: digest for name, digest in self.signed.files.items() if name != MANIFEST_FILE}
        if rest != manifest.files:
            raise VerificationError(f"{MANIFEST_FILE} describes other files than those that were signed")
        self.manifest = manifest
        return _passed(f"format {manifest.format}, artifact {manifest.artifact}, model {manifest.model}")

    def identity(self) -> Step:
        manifest = self.known()
        if manifest.copy_id != manifest.expected_id:
            raise VerificationError(
                f"the copy's name must be {manifest.expected_id} for its model, spec, buyer and epoch; got "
                f"{manifest.copy_id}"
            )
        if manifest.artifact == "vgc":
            header = read_header_of(self.folder / PAYLOADS["vgc"])
            for name, value in sorted(manifest.identity.items()):
                if getattr(header, name) != value:
                    raise VerificationError(f"the sealed package names another {name} than {MANIFEST_FILE}")
        return _passed(f"copy {manifest.copy_id} of {manifest.model}, buyer {manifest.buyer}, epoch {manifest.epoch}")

    def times(self) -> Step:
        manifest = self.known()
        for name in ("issued_at", "created_at"):
            if _seconds(value := getattr(manifest, name)) > self.now + self.skew:
                raise VerificationError(f"{name} lies in the future: {value}, and now it is {utc_text(self.now)}")
        if manifest.expires_at is None:
            return _passed(f"issued {manifest.issued_at}, does not expire")
        if self.now >= _seconds(manifest.expires_at) + self.skew:
            raise VerificationError(f"the copy expired: {manifest.expires_at}, and now it is {utc_text(self.now)}")
        return _passed(f"issued {manifest.issued_at}, expires {manifest.expires_at}")

    def revocation(self, revocations: RevocationList | bytes | None, since: int) -> Step:
        if revocations is None:
            return Step(number=0, name="", outcome="skipped", detail="no list of revoked copies was given")
        listed = revocations if isinstance(revocations, RevocationList) else read_revocations(revocations, self.key)
        if listed.signing_key != key_digest(self.key):
            raise VerificationError("the list of revoked copies is that of another signing key")
        if listed.issued_at > self.now + self.skew:
            raise VerificationError(f"the list of revoked copies is from the future: {utc_text(listed.issued_at)}")
        if self.now > listed.next_update + self.skew:
            raise VerificationError(
                f"the list of revoked copies is too old: the next was due {utc_text(listed.next_update)}; fetch it"
            )
        if listed.log.seq < since:
            raise VerificationError(
                f"the list of revoked copies is an earlier one: it ends at entry {listed.log.seq} of the seller's log, "
                f"and one of entry {since} was seen; fetch the newest"
            )
        if (name := self.known().copy_id) in listed.copies:
            raise VerificationError(f"the copy {name} is revoked, by the list of {utc_text(listed.issued_at)}")
        return _passed(
            f"not among the {len(listed.copies)} copies that were revoked by {utc_text(listed.issued_at)}, entry "
            f"{listed.log.seq} of the seller's log"
        )


def _bound(check: Check, run: _Run) -> Callable[[], Step]:
    return lambda: check(run.known())


def _name(check: Check) -> str:
    name = getattr(check, "__name__", type(check).__name__)
    return str(name).strip("_").replace("_", " ")


def _passed(detail: str) -> Step:
    return Step(number=0, name="", outcome="passed", detail=detail)


def _failed(detail: str) -> Step:
    return Step(number=0, name="", outcome="failed", detail=detail)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
