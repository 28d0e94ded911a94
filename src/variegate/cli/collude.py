"""`variegate audit collude`: several buyers attack with their copies put together."""

from typing import TYPE_CHECKING, Annotated

import typer

from variegate.cli.desk import open_desk
from variegate.cli.entrypoint import SellerCodeCommand, typed_command
from variegate.cli.experiment import choose_attack, choose_device, load_images, scale_to
from variegate.cli.options import (
    HOME,
    MAX_COUNT,
    AsJson,
    Data,
    DeviceChoice,
    DeviceOption,
    FailAbove,
    HomeFolder,
    ModelName,
    NormOption,
    Out,
    Parameters,
    Preset,
    Resume,
    RewriterSpecs,
    Seed,
    Semantics,
    Split,
    examples,
    parse_ranges,
    parse_rate,
    required_folder,
    split_names,
)
from variegate.cli.output import print_record, talk
from variegate.cli.running import require_below, resumable
from variegate.errors import ConfigurationError
from variegate.types import Norm

if TYPE_CHECKING:
    from variegate.attacks.base import Attack
    from variegate.attacks.white_box.base import WhiteBoxAttack
    from variegate.records.collusion import CollusionRecord

_MAX_COLLUDERS = 1000
_ENSEMBLES = ("mean", "log", "vote")


def add_to(group: typer.Typer) -> None:
    """Add the command to `variegate audit`."""
    group.command(
        "collude",
        cls=SellerCodeCommand,
        epilog=examples(
            "variegate audit collude --model net --data cifar10/ --rewriters qim -k 1..8 --out collusion/",
            "variegate audit collude --model net --data cifar10/ --rewriters qim,permutation -k 1,2,4 --ensemble log "
            "--out collusion/",
            "variegate audit collude --model net --data cifar10/ --rewriters qim -k 3 --ensemble vote --queries 5000 "
            "--out collusion/",
            "variegate audit collude --model net --data cifar10/ --rewriters qim -k 1..2 --independent net-2 "
            "--independent net-3 --out collusion/",
        ),
    )(collude)


def collude(
    context: typer.Context,
    *,
    model: ModelName,
    data: Data,
    rewriters: RewriterSpecs = "",
    colluders: Annotated[
        str, typer.Option("-k", "--colluders", help="How many buyers collude: 1..8, 1-8 or 1,2,4.")
    ] = "1..8",
    independent: Annotated[
        list[str] | None,
        typer.Option(
            "--independent",
            metavar="MODEL",
            help="An original trained independently, for the paper's settings; repeat.",
        ),
    ] = None,
    out: Out = None,
    resume: Resume = None,
    victims: Annotated[
        int, typer.Option("--victims", min=1, max=MAX_COUNT, help="Copies of others that are shown what was found.")
    ] = 5,
    images: Annotated[int, typer.Option("--images", min=1, max=MAX_COUNT, help="How many images are attacked.")] = 50,
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries",
            min=1,
            max=MAX_COUNT,
            help="Labels that may be asked for each image; 1000 for a vote if left out.",
        ),
    ] = None,
    split: Split = "test",
    pool: Annotated[int | None, typer.Option("--pool", min=1, help="Read only so many images.")] = None,
    ensemble: Annotated[
        str,
        typer.Option(
            "--ensemble",
            help='What the colluders attack: the "mean" of their scores, its "log", or a majority "vote" of labels.',
        ),
    ] = "mean",
    attack: Annotated[
        str | None,
        typer.Option(
            "--attack",
            metavar="NAME",
            help="The attack: deepfool for scores and hopskipjump for a vote if left out; names: variegate attacks.",
        ),
    ] = None,
    norm: NormOption = None,
    semantics: Semantics = None,
    preset: Preset = None,
    parameters: Parameters = None,
    seed: Seed = 0,
    device: DeviceOption = DeviceChoice.CPU,
    fail_above: FailAbove = None,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Collusion: attack several buyers' copies as one, and try what was found on other buyers' copies.

    The paper's attack (section 5.6): DeepFool on the mean of the copies' scores, for each number of colluders. Copies
    are made for the measurement, from the seed. Controls: the rewriter stripped, identical copies,
    random noise of equal norm. The folder receives record.json; an interrupted audit goes on with --resume, with
    the same options: other settings need another folder.
    """
    limit = None if fail_above is None else parse_rate(fail_above, "--fail-above")
    numbers = _parse_colluders(colluders)
    chosen = _choose_attack(ensemble, attack, preset, norm, semantics, parameters, queries=queries)
    folder = required_folder(out, resume)
    names = split_names(rewriters)
    if not names and not independent:
        raise ConfigurationError(
            "expected --rewriters or --independent: identical copies have nothing to collude about"
        )
    where = choose_device(device)
    with open_desk(home, read_only=True) as desk:
        subjects = [desk.model(name).digest for name in (model, *(independent or []))]
        saved = [desk.find_spec(name, model=model) for name in names]
        images_read = load_images(data, split, limit=pool)
        original = desk.original(model).to(where)
        others = [desk.original(name).to(where) for name in independent or []]
    from variegate.experiments.collusion import audit_collude
    from variegate.experiments.collusion_settings import ENSEMBLES, CollusionSpec
    from variegate.rewriters.catalog import spec_from_dict

    images_read = scale_to(images_read, original.bounds)
    spec = CollusionSpec(
        model_name=model,
        data_name=images_read.name,
        split=split,
        rewriters={one.name: spec_from_dict(one.spec) for one in saved},
        colluders=numbers,
        victims=victims,
        images=images,
        queries=queries if queries is not None else 1000,
        attack=chosen,
        ensemble=next(kind for kind in ENSEMBLES if kind == ensemble),
        seed=seed,
        subjects=tuple(subjects),
        command=typed_command(context),
    )
    with resumable(folder, "shards/*.npz") as progress:
        record = audit_collude(
            spec,
            original=original,
            independent=others,
            images=images_read.images,
            labels=images_read.labels,
            out=folder,
            progress=progress,
        )
    print_record(record, as_json=as_json)
    talk(f"wrote {folder / 'record.json'}")
    require_below(limit, _gated_rates(record), what="the replication rate of colluders")


def _choose_attack(
    ensemble: str,
    name: str | None,
    preset: str | None,
    norm: Norm | None,
    semantics: str | None,
    parameters: list[str] | None,
    *,
    queries: int | None,
) -> "Attack | WhiteBoxAttack":
    """Return the attack that fits what the colluders make of their copies.

    Raises:
        ConfigurationError: it does not fit, or one of its options does not.
    """
    from variegate.attacks.catalog import full_name
    from variegate.attacks.white_box.base import WhiteBoxAttack

    if ensemble not in _ENSEMBLES:
        raise ConfigurationError(f"--ensemble must be {', '.join(_ENSEMBLES)}; got {ensemble!r}")
    name = full_name(name if name is not None else "hopskipjump" if ensemble == "vote" else "deepfool")
    given = list(parameters or [])
    if ensemble == "log":
        if name != "deepfool":
            raise ConfigurationError(f"--ensemble log says how deepfool reads scores; with {name} use mean or vote")
        if not any(text.startswith("scores=") for text in given):
            given.append("scores=log")
    elif ensemble == "mean" and name == "deepfool" and preset is None:
        preset = "reproduction"
    found = choose_attack(name, preset=preset, norm=norm, semantics=semantics, parameters=given)
    white_box = isinstance(found, WhiteBoxAttack)
    if ensemble == "vote" and white_box:
        raise ConfigurationError(f"a vote has no gradients for {name}; choose an attack that sees labels alone")
    if ensemble != "vote" and not white_box:
        raise ConfigurationError(f"{name} sees labels alone: use it with --ensemble vote")
    if getattr(found, "semantics", None) == "art" and any(text.startswith("candidates=") for text in given):
        raise ConfigurationError(
            "collusion considers all classes with art's semantics, so that blocks of images do not matter; leave "
            "candidates out, or choose --semantics paper"
        )
    if white_box and queries is not None:
        raise ConfigurationError(f"{name} sees scores and gradients: it takes no budget; leave --queries out")
    return found


def _parse_colluders(text: str) -> tuple[int, ...]:
    """Read "1..8", "1-8" or "1,2,4"; ascending, each once."""
    return tuple(sorted(set(parse_ranges(text, "-k", low=1, high=_MAX_COLLUDERS))))


def _gated_rates(record: "CollusionRecord") -> dict[str, float | None]:
    """Return the rate of each number of colluders with copies of a rewriter; None where no attack succeeded.

    The rate is the highest of all outputs, of the kept ones and of the validated ones: colluders who can ask their
    copies would hand on the last.
    """
    from variegate.report.views.collusion import copies_title

    gated: dict[str, float | None] = {}
    for setting in (each for each in record.settings if each.rewriter is not None):
        for point in (each for each in setting.points if each.variant != "stripped"):
            which = f"{copies_title(setting.setting, setting.rewriter)} with {point.r}"
            rates = [outputs.replication_rate.rate for outputs in point.outputs.values()]
            known = [rate for rate in rates if rate is not None]
            gated[which] = max(known) if known and point.attack_success_rate.k else None
    return gated
