"""`variegate verify`: is an artifact what it says, and still valid?"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from variegate.cli.options import AsJson, examples
from variegate.cli.output import print_json, print_text
from variegate.errors import ConfigurationError, VerificationError

_PEM_LIMIT = 64 * 1024
_MAX_SKEW = 86_400.0
_YEAR_10000 = 253_402_300_800


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "verify",
        epilog=examples(
            "variegate verify acme-net/ --public-key seller.pem",
            "variegate verify acme-net/ --public-key seller.pem --revocations revocations.json",
            "variegate verify acme-net/ --public-key seller.pem --revocations revocations.json --list-since 1204",
            "variegate verify acme-net/ --home .variegate --json",
        ),
    )(verify)


def verify(
    artifact: Annotated[Path, typer.Argument(help="The folder with payload, manifest.json and model.sig.")],
    *,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="The seller's public key (PEM), from a source that you trust.")
    ] = None,
    revocations: Annotated[
        Path | None, typer.Option("--revocations", help="The seller's signed list of revoked copies.")
    ] = None,
    list_since: Annotated[
        int,
        typer.Option(
            "--list-since",
            min=0,
            help="Refuse a list of an earlier entry of the seller's log: give the number of the newest list you saw.",
        ),
    ] = 0,
    home: Annotated[
        Path | None,
        typer.Option("--home", help="For the seller: the home, whose registry and log are consulted, too."),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="Verify as of this time, such as 2027-01-31T12:00:00Z, instead of now.")
    ] = None,
    skew: Annotated[
        float, typer.Option("--skew", min=0.0, max=_MAX_SKEW, help="By how many seconds clocks may differ.")
    ] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Verify an artifact in numbered steps; exit code 5 if one fails.

    Signature, files, manifest, identity, times, revocation; with --home also the registry, the copy's state and the
    whole log. Nothing of the artifact is run.
    """
    from variegate.artifacts.revocations import MAX_REVOCATION_BYTES
    from variegate.artifacts.verify import verify_artifact
    from variegate.files import read_bounded

    if public_key is None and home is None:
        raise ConfigurationError("expected the seller's public key (--public-key), or their home (--home); got neither")
    pem = None if public_key is None else read_bounded(public_key, _PEM_LIMIT)
    listed = None if revocations is None else read_bounded(revocations, MAX_REVOCATION_BYTES)
    now = time.time() if at is None else _parse_time(at)
    if list_since and listed is None:
        raise ConfigurationError("--list-since is about the list of --revocations; give that, too")
    if home is None:
        result = verify_artifact(
            artifact,
            public_key_pem=pem or b"",
            now=now,
            skew_seconds=skew,
            revocations=listed,
            list_since=list_since,
        )
    else:
        from variegate.cli.desk import open_desk

        with open_desk(home, read_only=True) as desk:
            result = desk.verify(
                artifact, public_key_pem=pem, now=now, skew_seconds=skew, revocations=listed, list_since=list_since
            )
    if as_json:
        print_json(result.to_dict())
    else:
        for step in result.steps:
            print_text(f"{step.number}. {step.name}: {step.outcome}: {step.detail}")
    failure = result.failure
    if failure is not None:
        raise VerificationError(f"{artifact} does not verify: step {failure.number}, {failure.name}: {failure.detail}")


def _parse_time(text: str) -> float:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"--at must be a time such as 2027-01-31T12:00:00Z; got {text!r:.60}") from error
    seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    if not 0 <= seconds < _YEAR_10000:
        raise ConfigurationError(f"--at must lie from 1970 to 9999 in UTC; got {text!r:.60}")
    return seconds
