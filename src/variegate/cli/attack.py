"""`variegate attack` and `variegate attacks`: any attack on an original or on an issued copy, and which there are."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from variegate.cli.entrypoint import SellerCodeCommand, typed_command
from variegate.cli.experiment import TargetChoice, choose_attack, load_images, scale_to
from variegate.cli.options import (
    HOME,
    MAX_COUNT,
    AsJson,
    Data,
    DeviceChoice,
    DeviceOption,
    HomeFolder,
    NormOption,
    Out,
    Parameters,
    Preset,
    Resume,
    Seed,
    Semantics,
    Split,
    examples,
    output_folder,
)
from variegate.cli.output import print_json, print_record, print_table, print_text, talk
from variegate.cli.running import resumable, resuming
from variegate.files import make_folder

if TYPE_CHECKING:
    from variegate.records.attack import AttackRecord

_QUERIES = 5000
_VOTES = 9


class FileFormat(StrEnum):
    """How adversarials are written."""

    NPZ = "npz"
    SAFETENSORS = "safetensors"


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        "attack",
        cls=SellerCodeCommand,
        epilog=examples(
            "variegate attack hsj --model net --data cifar10/ --images 20 --queries 2000",
            "variegate attack cgba --copy vg1-0123456789abcdef0123 --data cifar10/ --out attack/",
            "variegate attack hsj --copy vg1-0123456789abcdef0123 --data cifar10/ --norm linf --resume attack/",
            "variegate attack geoda --model net --data cifar10/ --preset reproduction --out attack/",
            "variegate attack hsj --model net --data cifar10/ --jitter gaussian:0.03 --votes 9 --set iterations=8",
            "variegate attack hsj --onnx net.onnx --input-shape 3,32,32 --labels 10 --data cifar10/",
            "variegate attack deepfool --model net --data cifar10/ --set scores=probabilities",
        ),
    )(attack)
    app.command("attacks", epilog=examples("variegate attacks", "variegate attacks --json"))(attacks)


def attack(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which attack; names: variegate attacks.")],
    *,
    model: Annotated[str | None, typer.Option("--model", help="Attack this original.")] = None,
    copy: Annotated[str | None, typer.Option("--copy", help="Attack this issued copy, vg1-...")] = None,
    onnx: Annotated[
        Path | None, typer.Option("--onnx", help="Attack this ONNX file's labels; it needs no home.")
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option("--input-shape", help="Of an ONNX file that leaves it open: 3,32,32.")
    ] = None,
    labels: Annotated[
        int | None,
        typer.Option("--labels", min=2, max=MAX_COUNT, help="Classes of an ONNX file that leaves them open."),
    ] = None,
    bounds: Annotated[
        str | None, typer.Option("--bounds", help="The interval of an ONNX file's input values; 0,1 if left out.")
    ] = None,
    data: Data,
    split: Split = "test",
    images: Annotated[int, typer.Option("--images", min=1, max=MAX_COUNT, help="How many images to attack.")] = 20,
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries",
            min=1,
            max=10 * MAX_COUNT,
            help="Labels that may be asked for each image: 5000 if left out, no limit with --preset.",
        ),
    ] = None,
    norm: NormOption = None,
    semantics: Semantics = None,
    preset: Preset = None,
    parameters: Parameters = None,
    jitter: Annotated[
        str | None,
        typer.Option(
            "--jitter",
            help='Let --votes jittered questions decide each answer: "gaussian:0.03", "natural:shift=1,contrast=0.04".',
        ),
    ] = None,
    votes: Annotated[
        int | None,
        typer.Option("--votes", min=1, max=1000, help="Questions for an answer, with --jitter; 9 if left out."),
    ] = None,
    levels: Annotated[
        int | None,
        typer.Option("--levels", min=2, max=2**16, help="Round questions to so many levels; 256 as 8-bit images."),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows",
            min=1,
            max=MAX_COUNT,
            help="Rows that are asked at once: fewer take less memory, results are the same.",
        ),
    ] = None,
    file_format: Annotated[FileFormat, typer.Option("--format", help="Of the file of adversarials.")] = FileFormat.NPZ,
    targeted: Annotated[
        bool,
        typer.Option(
            "--targeted",
            help="Aim at a random other class, of those into which the target puts one of the images read.",
        ),
    ] = False,
    seed: Seed = 0,
    device: DeviceOption = DeviceChoice.CPU,
    out: Out = None,
    resume: Resume = None,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Attack an original or a copy: through its labels alone, or white-box through scores and gradients.

    With --out, writes record.json, the adversarials, pictures and figures, and saves a hard-label attack's state so
    that --resume can go on. If the model fails while it labels, the command ends with an error after it has written
    what was found until then.
    """
    from variegate.attacks.white_box.base import WhiteBoxAttack
    from variegate.errors import ConfigurationError, OracleError

    choice = TargetChoice(
        model=model, copy=copy, onnx=onnx, input_shape=input_shape, labels=labels, bounds=bounds, device=device
    )
    chosen_attack = choose_attack(name, preset=preset, norm=norm, semantics=semantics, parameters=parameters)
    folder = output_folder(out, resume)
    if votes is not None and jitter is None:
        raise ConfigurationError("--votes needs --jitter, to say how the questions differ")
    if resume is not None:
        _require_attack(resume, name, white_box=isinstance(chosen_attack, WhiteBoxAttack))
    pool = load_images(data, split, limit=None if targeted else images)
    chosen = choice.load(home)
    from variegate.experiments.attack import CHECKPOINT_FILE, SingleAttack, Voting
    from variegate.oracles.jitter import parse_jitter

    run = SingleAttack(
        command=typed_command(context),
        target_name=chosen.name,
        target_digest=chosen.digest,
        attack=chosen_attack,
        images=images,
        queries=_budget(queries, preset, chosen_attack),
        targeted=targeted,
        seed=seed,
        voting=None if jitter is None else Voting(jitter=parse_jitter(jitter), votes=votes or _VOTES),
        levels=levels,
        rows=rows,
        file_format=file_format.value,
    )
    pool = scale_to(pool, chosen.target.bounds)
    if folder is not None:
        make_folder(folder)
    with resumable(folder, CHECKPOINT_FILE) as progress:
        record = run.run(chosen.target, pool, out=folder, device=chosen.device, progress=progress)
    if folder is not None:
        _draw(record, folder)
    print_record(record, as_json=as_json)
    if record.error is not None:
        more = "" if folder is None or run.white_box else f"; resume with the same options and {resuming(folder)}"
        raise OracleError(f"{record.error}{more}")


def _budget(queries: int | None, preset: str | None, attack: object) -> int | None:
    """Return the budget: what is given; else none for a preset or a white-box attack, the usual one for others."""
    from variegate.attacks.white_box.base import WhiteBoxAttack

    if queries is None and preset is None and not isinstance(attack, WhiteBoxAttack):
        return _QUERIES
    return queries


def _require_attack(folder: Path, name: str, *, white_box: bool) -> None:
    """Raise if there is nothing to resume, or the folder holds another record, which a resume would overwrite."""
    from variegate.errors import ConfigurationError, ConflictError
    from variegate.records.load import kind_of

    if white_box:
        raise ConfigurationError(f"{name} saves no state to resume; start it again with --out")
    file = folder / "record.json"
    if file.is_file() and kind_of(file) != "attack":
        raise ConflictError(f"{folder} holds the record of something else than an attack; give another folder")


def _draw(record: "AttackRecord", folder: Path) -> None:
    """Write the figures beside the record, if matplotlib is there."""
    try:
        from variegate.report.figures.gallery import load_pictures
        from variegate.report.render import save_all
    except ImportError:
        talk("no figures: they need matplotlib, pip install 'variegate[report]'")
        return

    save_all(record, folder, pictures=load_pictures(folder / "pictures.npz"))
    talk(f"wrote record.json, the adversarials, pictures and figures to {folder}")


def attacks(*, as_json: AsJson = False) -> None:
    """List the attacks, what each is, and the hyper-parameters that --set takes."""
    from variegate.attacks.catalog import describe_attacks

    described = describe_attacks()
    if as_json:
        print_json(described)
        return
    for one in described:
        print_text(f"{one['name']}: {one['summary']} ({one['sees']})")
        rows = [(p["name"], p["default"], p["takes"]) for p in one["parameters"]]
        print_table(("  parameter", "default", "takes"), [(f"  {name}", *rest) for name, *rest in rows])
