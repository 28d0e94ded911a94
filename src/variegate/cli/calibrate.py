"""`variegate calibrate`: a rewriter's parameters for one original."""

from typing import Annotated

import typer

from variegate.cli.desk import open_desk
from variegate.cli.entrypoint import SellerCodeCommand
from variegate.cli.experiment import choose_device, load_images, scale_to
from variegate.cli.options import (
    HOME,
    MAX_COUNT,
    AsJson,
    Data,
    DeviceChoice,
    DeviceOption,
    HomeFolder,
    ModelName,
    ReplaceSpec,
    Seed,
    Split,
    examples,
    parse_rate,
)
from variegate.cli.output import print_json, print_text, talk
from variegate.cli.running import show_progress


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "calibrate",
        cls=SellerCodeCommand,
        epilog=examples(
            "variegate calibrate --model net --data cifar10/ --rewriter qim",
            "variegate calibrate --model net --data gtsrb/ --rewriter permutation --max-change 0.5% --name strict",
        ),
    )(calibrate)


def calibrate(
    *,
    model: ModelName,
    data: Data,
    rewriter: Annotated[str, typer.Option("--rewriter", help="qim, permutation or spread_spectrum.")],
    max_change: Annotated[
        str, typer.Option("--max-change", help="The share of labels that a copy may change at most.")
    ] = "1%",
    name: Annotated[
        str | None, typer.Option("--name", help="What to call the spec; MODEL-REWRITER if left out.")
    ] = None,
    split: Split = "train",
    images: Annotated[int, typer.Option("--images", min=1, max=MAX_COUNT, help="How many images to use.")] = 2048,
    attack_images: Annotated[
        int, typer.Option("--attack-images", min=1, max=MAX_COUNT, help="How many of them to attack.")
    ] = 24,
    attack_queries: Annotated[
        int, typer.Option("--attack-queries", min=1, max=MAX_COUNT, help="Queries for each attacked image.")
    ] = 2000,
    seed: Seed = 0,
    device: DeviceOption = DeviceChoice.CPU,
    replace: ReplaceSpec = False,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Choose a rewriter's parameters for an original.

    They are chosen within a budget of changed labels and saved as a spec, to issue copies with. Uses the images and
    the original's scores, not the labels. Prints the predicted and the measured change, and what
    each strength costs and prevents.
    """
    from variegate.types import check_identifier

    budget = parse_rate(max_change, "--max-change")
    spec_name = check_identifier(name or f"{model}-{rewriter}", "a spec's name")
    where = choose_device(device)
    with open_desk(home) as desk:
        desk.model(model)
        if not replace:
            desk.require_free_spec(spec_name)
        pool = load_images(data, split, limit=images)
        original = desk.original(model).to(where)
        from variegate.experiments.calibration import calibrate_spec, calibration_data

        used = calibration_data(pool, split)  # before they are scaled in place
        with show_progress() as progress:
            result = calibrate_spec(
                original,
                scale_to(pool, original.bounds).images,
                rewriter=rewriter,
                max_change=budget,
                seed=seed,
                attack_images=attack_images,
                attack_queries=attack_queries,
                progress=progress,
            )
        record = result.record.model_copy(update={"model": model, "data": used})
        saved = desk.save_spec(spec_name, result.spec, model=model, record=record.to_dict(), replace=replace)
    if as_json:
        print_json(saved.to_dict())
    else:
        from variegate.report.render import render_text

        print_text(render_text(record))
    talk(f"saved the spec {spec_name} ({saved.spec_digest[:19]}…)")
    talk(f"issue with: variegate issue --model {model} --spec {spec_name} --buyer NAME")
