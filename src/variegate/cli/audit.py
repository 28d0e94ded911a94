"""`variegate audit`: how far what is found on one copy works on the others."""

from typing import Annotated

import typer

from variegate.cli import collude, cross_check
from variegate.cli.desk import open_desk
from variegate.cli.entrypoint import SellerCodeCommand, typed_command
from variegate.cli.experiment import choose_device, choose_hard_label_attack, load_images, scale_to
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
    parse_rate,
    required_folder,
    split_names,
)
from variegate.cli.output import print_record, talk
from variegate.cli.running import require_below, resumable


def add_to(app: typer.Typer) -> None:
    """Add the command group to the application."""
    group = typer.Typer(no_args_is_help=True, help="Measure what copies prevent.")
    group.command(
        "replicate",
        cls=SellerCodeCommand,
        epilog=examples(
            "variegate audit replicate --model net --data cifar10/ --rewriters qim,permutation --out audit/",
            "variegate audit replicate --model net --data cifar10/ --rewriters qim --copies 10 --attackers 2 "
            "--independent net-2 --out audit/",
            "variegate audit replicate --model net --data cifar10/ --rewriters qim --resume audit/",
            "variegate audit replicate --model net --data cifar10/ --rewriters qim --out audit/ --fail-above 10%",
        ),
    )(replicate)
    collude.add_to(group)
    cross_check.add_to(group)
    app.add_typer(group, name="audit")


def replicate(
    context: typer.Context,
    *,
    model: ModelName,
    data: Data,
    rewriters: RewriterSpecs,
    out: Out = None,
    resume: Resume = None,
    copies: Annotated[int, typer.Option("--copies", min=2, max=MAX_COUNT, help="Copies of each rewriter.")] = 5,
    deal_images: Annotated[
        bool, typer.Option("--deal-images", help="Attack each image from one attacker only, dealt out in turn.")
    ] = False,
    attackers: Annotated[
        int | None, typer.Option("--attackers", min=1, max=MAX_COUNT, help="How many of them attack; all if left out.")
    ] = None,
    images: Annotated[
        int, typer.Option("--images", min=1, max=MAX_COUNT, help="How many images are attacked from each.")
    ] = 50,
    queries: Annotated[
        int, typer.Option("--queries", min=1, max=MAX_COUNT, help="Labels that may be asked for each image.")
    ] = 5000,
    independent: Annotated[
        list[str] | None,
        typer.Option("--independent", metavar="MODEL", help="An original trained independently, to compare; repeat."),
    ] = None,
    split: Split = "test",
    pool: Annotated[
        int | None,
        typer.Option("--pool", min=1, help="Read only so many images; accuracy is measured on all that are read."),
    ] = None,
    attack: Annotated[
        str, typer.Option("--attack", metavar="NAME", help="The hard-label attack; names: variegate attacks.")
    ] = "hopskipjump",
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
    """Replication: attack copies of each rewriter, and try what was found on all other copies.

    The copies are made for the measurement, from the seed, and are not those of any buyer. Controls are measured beside
    them: identical copies, random noise of equal norm, and independent training if it is given. The folder receives
    record.json and pictures.npz; an interrupted audit goes on with --resume.
    """
    from variegate.errors import ConfigurationError

    limit = None if fail_above is None else parse_rate(fail_above, "--fail-above")
    chosen_attack = choose_hard_label_attack(
        attack, preset=preset, norm=norm, semantics=semantics, parameters=parameters
    )
    folder = required_folder(out, resume)
    where = choose_device(device)
    with open_desk(home, read_only=True) as desk:
        manifest = desk.model(model)
        saved = [desk.find_spec(name, model=model) for name in split_names(rewriters)]
        if not saved:
            raise ConfigurationError("--rewriters must name at least one calibrated spec; got none")
        images_read = load_images(data, split, limit=pool)
        original = desk.original(model).to(where)
        others = [desk.original(name).to(where) for name in independent or []]
    from variegate.experiments.replication import AuditSpec, audit_replicate
    from variegate.rewriters.catalog import spec_from_dict

    images_read = scale_to(images_read, original.bounds)
    spec = AuditSpec(
        model_name=model,
        data_name=images_read.name,
        split=split,
        rewriters=tuple(spec_from_dict(one.spec) for one in saved),
        copies=copies,
        attackers=attackers,
        deal_images=deal_images,
        images=images,
        queries=queries,
        attack=chosen_attack,
        seed=seed,
        model_digest=manifest.digest,
        command=typed_command(context),
    )
    with resumable(folder, "shards/*.safetensors") as progress:
        record = audit_replicate(
            spec,
            original=original,
            independent=others,
            images=images_read.images,
            labels=images_read.labels,
            out=folder,
            progress=progress,
        )
    print_record(record, as_json=as_json)
    talk(f"wrote {folder / 'record.json'}; a page with figures: variegate report {folder} --html report.html")
    rates = {group.name: group.rates.replication_rate.rate for group in record.groups if group.rewriter}
    require_below(limit, rates, what="the replication rate")
