"""`variegate export`, `revocations` and `certificate`: what buyers and their devices receive."""

import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from variegate.cli.desk import open_desk
from variegate.cli.entrypoint import SellerCodeCommand
from variegate.cli.lifecycle import discard_key
from variegate.cli.options import HOME, AsJson, CopyName, HomeFolder, examples
from variegate.cli.output import print_json, print_result, print_text, talk
from variegate.errors import ConfigurationError, VerificationError
from variegate.registry.rows import utc

if TYPE_CHECKING:
    from variegate.artifacts.vgc_header import Recipient

_PEM_LIMIT = 64 * 1024
_PASSPHRASE = "VARIEGATE_RECIPIENT_PASSPHRASE"  # noqa: S105 (the name of a variable)


class ArtifactFormat(StrEnum):
    """What an artifact's payload is."""

    ONNX = "onnx"
    SAFETENSORS = "safetensors"
    PT2 = "pt2"
    VGC = "vgc"


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        "export",
        cls=SellerCodeCommand,
        epilog=examples(
            "variegate export vg1-0123456789abcdef0123 --format onnx --out acme-net/",
            "variegate export --buyer acme --model net --format vgc --recipient device.pub --out acme-net/",
            "VARIEGATE_RECIPIENT_PASSPHRASE_FILE=pass variegate export vg1-... --format vgc --out acme-net/",
        ),
    )(export)
    app.command(
        "revocations",
        epilog=examples("variegate revocations --out revocations.json", "variegate revocations --days 1 --out r.json"),
    )(revocations)
    app.command(
        "certificate",
        epilog=examples("variegate certificate vg1-0123456789abcdef0123 --seller 'Example Ltd' --out acme.html"),
    )(certificate)


def export(
    copy: Annotated[str | None, typer.Argument(help="A copy, by its name vg1-...")] = None,
    *,
    format: Annotated[ArtifactFormat, typer.Option("--format", help="What the buyer gets.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for the artifact.")],
    buyer: Annotated[str | None, typer.Option("--buyer", help="The active copy of this buyer, instead.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="With --buyer: of this original.")] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Give scores with the label: attacks become far cheaper.")
    ] = False,
    recipient: Annotated[
        Path | None,
        typer.Option("--recipient", help="For vgc: the X25519 public key (PEM) of the one who can open it."),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="For vgc: hold the copy's tensors instead of its key.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Then discard the copy's key for good (variegate forget).")
    ] = False,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Write an issued copy as a signed artifact: a folder with the payload, a manifest and a signature.

    Outside a trusted execution environment an artifact does not protect the rewriter: anyone who holds an ONNX, PT2 or
    safetensors file, or an opened vgc, can read the rewriter and strip it. See docs/formats/artifact.md.
    A vgc is sealed to --recipient, or under the passphrase in VARIEGATE_RECIPIENT_PASSPHRASE[_FILE], or under one that
    is asked on the terminal.
    """
    if (copy is None) == (buyer is None):
        raise ConfigurationError(
            "expected a copy by its name, or --buyer; got " + ("neither" if copy is None else "both")
        )
    receiver = _receiver(format, recipient, overlay=overlay)
    with open_desk(home) as desk:
        name = copy if copy is not None else desk.active_copy(buyer or "", model=model)
        if forget and not desk.copy(name).salted:
            desk.forget(name)  # says why it cannot be forgotten, before anything is written
        manifest = desk.export(name, out, artifact=format.value, scores=scores, recipient=receiver, overlay=overlay)
        if forget:
            try:
                discard_key(desk, name)
            except BaseException:  # an interruption, too, leaves the artifact
                talk(f"{out} is written, but the copy's key is NOT discarded for good; run: variegate forget {name}")
                raise
    if scores:
        talk("Warning: with scores, attacks on this copy take far fewer queries; give labels alone where you can.")
    if format is not ArtifactFormat.VGC:
        talk("Outside a trusted execution environment anyone who holds this file can read the rewriter and strip it.")
    if forget:
        talk("The copy's key is discarded: it cannot be made, served or traced again.")
    if as_json:
        print_json(manifest.to_dict())
    else:
        print_text(f"wrote {out}: copy {manifest.copy_id} for {manifest.buyer} as {manifest.artifact}")
        talk(f"verify with: variegate verify {out} --public-key FILE (variegate key export --public FILE)")


def revocations(
    *,
    out: Annotated[Path, typer.Option("--out", help="The file to write; an earlier list is replaced.")],
    days: Annotated[
        float, typer.Option("--days", min=0.01, max=3660, help="For how long devices accept the list.")
    ] = 7.0,
    secret: Annotated[
        str | None, typer.Option("--secret-id", help="Sign with the key of an earlier secret (variegate key ls).")
    ] = None,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Write the signed list of revoked copies, for devices that verify without a connection to the seller."""
    from variegate.files import write_atomic
    from variegate.types import CopyStatus

    with open_desk(home) as desk:
        now = int(time.time())
        data = desk.revocations(now=now, next_update=now + round(days * 86_400), secret=secret)
        count = desk.count_copies(status=CopyStatus.REVOKED)
    write_atomic(out, data)
    print_result(
        {"file": str(out), "revoked": count},
        f"wrote {out}: {count:,} revoked {'copy' if count == 1 else 'copies'}",
        as_json=as_json,
    )


def certificate(
    copy: CopyName,
    *,
    seller: Annotated[str, typer.Option("--seller", help="Your name, as it should stand on the page.")],
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write; it must not exist.")],
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Write the certificate of issue: one page that tells a buyer which copy they hold, and that it can be traced."""
    from variegate.files import file_that_appears_whole
    from variegate.report.certificate import Certificate, render_certificate
    from variegate.signing import key_digest, read_public_key

    with open_desk(home, read_only=True) as desk, file_that_appears_whole(out) as file:
        row = desk.copy(copy)
        head = desk.log_head()
        if row.secret is None:
            raise VerificationError(f"copy {copy} is recorded without a seller's secret; its row changed")
        page = render_certificate(
            Certificate(
                seller=seller,
                copy=desk.copy_manifest(copy).to_dict(),
                status=row.status.value,
                expires=None if row.expires_at is None else utc(row.expires_at),
                traceable=not desk.is_forgotten(copy),
                signing_key=key_digest(read_public_key(desk.public_key(row.secret).encode())),
                log_entries=head.seq,
                log_hash=head.hash,
                made_at=utc(int(time.time())),
            )
        )
        file.write(page.encode())
    print_result({"file": str(out), "copy_id": row.copy_id, "buyer": row.buyer}, f"wrote {out}", as_json=as_json)


def _receiver(kind: ArtifactFormat, public_key: Path | None, *, overlay: bool) -> "Recipient | None":
    if kind is ArtifactFormat.VGC:
        return _recipient(public_key)
    if overlay:
        raise ConfigurationError(f"--overlay says what a vgc holds; a {kind} holds the tensors anyway: leave it out")
    if public_key is not None:
        raise ConfigurationError(f"only a vgc is sealed to a recipient; {kind} is readable by anyone who holds it")
    return None


def _recipient(public_key: Path | None) -> "Recipient":
    from variegate.artifacts.vgc_header import KeyRecipient, PassphraseRecipient, read_recipient_public_key
    from variegate.files import read_bounded
    from variegate.keystore.secret_sources import prompt_terminal, read_passphrase

    if public_key is not None:
        return KeyRecipient(read_recipient_public_key(read_bounded(public_key, _PEM_LIMIT)))
    person = sys.stdin is not None and sys.stdin.isatty()
    passphrase = read_passphrase(
        os.environ,
        prompt=prompt_terminal if person else None,
        confirm=True,
        variable=_PASSPHRASE,
        question="Passphrase for the recipient: ",
    )
    return PassphraseRecipient(passphrase)
