"""Options that several commands share, and how their values are read."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from variegate.errors import ConfigurationError, ConflictError, NotFoundError
from variegate.files import file_error
from variegate.types import Norm

HOME = Path(".variegate")
MAX_COUNT = 1_000_000
"""The largest count that an option takes."""
MAX_SEED = 2**31 - 1
MAX_RANGE = 1000
"""How many numbers an option such as --seeds takes."""


class DeviceChoice(StrEnum):
    """Where a network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


HomeFolder: TypeAlias = Annotated[
    Path, typer.Option("--home", envvar="VARIEGATE_HOME", help="The seller's home folder.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ModelName: TypeAlias = Annotated[str, typer.Option("--model", help="An original, by its name in the home.")]
Data: TypeAlias = Annotated[
    str,
    typer.Option("--data", help='Labelled images: a file or folder (Parquet, npz, CIFAR, GTSRB, images), or "digits".'),
]
Split: TypeAlias = Annotated[str, typer.Option("--split", help='Which part of the data: "train" or "test".')]
Seed: TypeAlias = Annotated[
    int, typer.Option("--seed", min=0, max=MAX_SEED, help="Decides every random choice of the experiment.")
]
DeviceOption: TypeAlias = Annotated[
    DeviceChoice, typer.Option("--device", help="Where the network runs; auto takes a GPU if there is one.")
]
NormOption: TypeAlias = Annotated[
    Norm | None, typer.Option("--norm", help="The norm that the attack makes small; the attack's own if left out.")
]
Semantics: TypeAlias = Annotated[
    str | None,
    typer.Option("--semantics", help='"paper" as its authors publish it, "art" as the ART library runs it.'),
]
Preset: TypeAlias = Annotated[
    str | None,
    typer.Option("--preset", help='Named settings: "reproduction" as the ASIACCS 2023 paper ran the attack.'),
]
Parameters: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter of the attack (variegate attacks); repeat."),
]
RewriterSpecs: TypeAlias = Annotated[
    str,
    typer.Option("--rewriters", help="Calibrated specs with commas, by name; qim stands for MODEL-qim, and so on."),
]
FailAbove: TypeAlias = Annotated[
    str | None,
    typer.Option("--fail-above", metavar="RATE", help="Exit with code 3 if a replication rate is above, such as 10%."),
]
ReplaceSpec: TypeAlias = Annotated[
    bool, typer.Option("--replace", help="Give the name to the new spec even if another one has it.")
]
ArchitectureArguments: TypeAlias = Annotated[
    list[str] | None, typer.Option("--arg", metavar="NAME=VALUE", help="An argument of the architecture; repeat.")
]
CopyName: TypeAlias = Annotated[str, typer.Argument(help="A copy, by its name vg1-...")]
Out: TypeAlias = Annotated[Path | None, typer.Option("--out", help="A new folder for the results.")]
Resume: TypeAlias = Annotated[
    Path | None, typer.Option("--resume", help="The folder of an interrupted run, to go on with.")
]


def examples(*lines: str) -> str:
    """Return a help text's closing part, with one example a line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def output_folder(out: Path | None, resume: Path | None) -> Path | None:
    """Return the folder to write to, or None if none was asked for.

    Raises:
        ConfigurationError: if both are given.
        ConflictError: if `out` holds files already.
        NotFoundError: if `resume` is not a folder.
    """
    if out is not None and resume is not None:
        raise ConfigurationError("expected --out for a new run or --resume for an interrupted one; got both")
    if resume is not None and not resume.is_dir():
        raise NotFoundError(f"there is no folder {resume} to resume; start a new run with --out")
    if out is not None and _is_taken(out):
        raise ConflictError(
            f"{out} holds results already: give a new folder, or resume with: --resume {shlex.quote(str(out))}"
        )
    return resume or out


def required_folder(out: Path | None, resume: Path | None) -> Path:
    """Return the folder to write to.

    Raises:
        ConfigurationError: if not exactly one of both is given.
        ConflictError: if `out` holds files already.
        NotFoundError: if `resume` is not a folder.
    """
    folder = output_folder(out, resume)
    if folder is None:
        raise ConfigurationError("expected --out for a new run or --resume for an interrupted one; got neither")
    return folder


def split_names(text: str) -> tuple[str, ...]:
    """Read names with commas; what is empty is left out."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_taken(folder: Path) -> bool:
    try:
        return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise file_error(error, folder, "write") from error


def parse_rate(text: str, option: str) -> float:
    """Read a share as "1%" or "0.01".

    Raises:
        ConfigurationError: if it is not a number from 0 to 1 (0 % to 100 %).
    """
    try:
        rate = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        rate = -1.0
    if not 0.0 <= rate <= 1.0:
        raise ConfigurationError(f"{option} must be a share such as 1% or 0.01, from 0 to 1; got {text!r}")
    return rate


def parse_floats(text: str, option: str) -> tuple[float, ...]:
    """Read "0.49,0.48,0.45".

    Raises:
        ConfigurationError: if a part is not a number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(f"{option} must be numbers with commas, such as 0.5,0.5,0.5; got {text!r}") from error


def parse_integers(text: str, option: str) -> tuple[int, ...]:
    """Read "3,32,32".

    Raises:
        ConfigurationError: if a part is not a positive whole number of at most 1,000,000.
    """
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) < 10 and 0 < int(part) <= MAX_COUNT for part in parts):
        raise ConfigurationError(f"{option} must be positive whole numbers with commas, such as 3,32,32; got {text!r}")
    return tuple(int(part) for part in parts)


def parse_ranges(text: str, option: str, *, low: int, high: int) -> tuple[int, ...]:
    """Read "0-9", "1..8", "0,3,5" or several of these with commas; at most 1,000 numbers, in the order given.

    Raises:
        ConfigurationError: if it is something else, or a number is not from `low` to `high`.
    """
    wrong = ConfigurationError(
        f"{option} must be up to {MAX_RANGE:,} whole numbers from {low:,} to {high:,}, such as 1-8 or 1,2,4; "
        f"got {text[:60]!r}"
    )
    found: list[int] = []
    for part in text.split(","):
        ends = [end.strip() for end in part.replace("..", "-").split("-")]
        if len(ends) > 2 or not all(end.isascii() and end.isdecimal() and len(end) <= 10 for end in ends):
            raise wrong
        first, last = int(ends[0]), int(ends[-1])
        if not (low <= first <= last <= high and last - first < MAX_RANGE):
            raise wrong
        found.extend(range(first, last + 1))
    if len(found) > MAX_RANGE:
        raise wrong
    return tuple(found)


def parse_pairs(pairs: list[str], option: str) -> dict[str, int | float | str | bool]:
    """Read NAME=VALUE each; whole numbers, numbers, true and false become what they look like, all else stays text.

    Raises:
        ConfigurationError: if one has no "=" or no name, or a name comes twice.
    """
    return {name: _typed(value) for name, value in split_pairs(pairs, option).items()}


def split_pairs(pairs: list[str], option: str) -> dict[str, str]:
    """Read NAME=VALUE each; values stay text.

    Raises:
        ConfigurationError: if one has no "=" or no name, or a name comes twice.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier() or name in values:
            raise ConfigurationError(
                f"{option} must be NAME=VALUE, each name once, such as num_classes=10; got {pair!r}"
            )
        values[name] = value
    return values


def _typed(text: str) -> int | float | str | bool:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
