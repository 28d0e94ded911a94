"""`variegate reproduce`: the paper's tables and figures."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variegate.cli.desk import open_desk
from variegate.cli.entrypoint import SellerCodeCommand, typed_command
from variegate.cli.experiment import choose_device
from variegate.cli.options import (
    HOME,
    AsJson,
    DeviceChoice,
    DeviceOption,
    HomeFolder,
    Seed,
    examples,
    parse_rate,
    split_names,
    split_pairs,
)
from variegate.cli.output import print_json, print_text, talk
from variegate.cli.running import show_progress

if TYPE_CHECKING:
    from variegate.evaluation.progress import Progress
    from variegate.experiments.paper.study import StudySource


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "reproduce",
        cls=SellerCodeCommand,
        epilog=examples(
            "variegate reproduce all --preset smoke --out reproduction/",
            "variegate reproduce table2 fig3 --preset laptop --study cifar10=data/cifar10:net-0,net-1,net-2 "
            "--study gtsrb=data/gtsrb:sign-0,sign-1,sign-2 --out reproduction/ --jobs 2",
            "variegate reproduce table2 --preset laptop --study cifar10=data/cifar10:net-0,net-1,net-2 "
            "--rewriters my-permutation --out mine/",
        ),
    )(reproduce)


def reproduce(
    context: typer.Context,
    *,
    experiments: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="table1, table2, table3, fig3, fig4, fig5, or all.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for records and shards; what is there is taken over.")],
    preset: Annotated[str, typer.Option("--preset", help="How much work: smoke, laptop, gpu or paper.")] = "smoke",
    study: Annotated[
        list[str] | None,
        typer.Option(
            "--study",
            metavar="NAME=DATA:MODEL,MODEL",
            help="Data, and originals of the home that were trained on it independently; repeat for more data sets. "
            "If left out: small originals on handwritten digits, trained now.",
        ),
    ] = None,
    note: Annotated[
        list[str] | None,
        typer.Option("--note", metavar="NAME=TEXT", help="What records shall say of a study's data; repeat."),
    ] = None,
    rewriters: Annotated[
        str, typer.Option("--rewriters", help="Which rewriters, by name or by the name of a saved spec; with commas.")
    ] = "permutation,spread_spectrum,qim",
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=256, help="Processes that share the work.")] = 1,
    max_change: Annotated[
        str,
        typer.Option("--max-change", help="Budget of changed labels for rewriters that the home has no spec for."),
    ] = "2%",
    images: Annotated[
        int | None,
        typer.Option(
            "--images", min=1, help="Images that Table 2 and Figure 5 attack, in place of the preset's numbers."
        ),
    ] = None,
    seed: Seed = 0,
    device: DeviceOption = DeviceChoice.CPU,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Reproduce tables and figures of the paper, with intervals, controls and the paper's own numbers beside them.

    Work is cut into shards, which are kept in the folder: the same command goes on where a killed one stopped. Each
    experiment writes a record, NAME.json. Rewriters use the specs that `calibrate` saved for the first original of a
    study, under their default names, or the specs that --rewriters names; missing ones are calibrated first, on
    training images. Handwritten digits are calibrated with fewer attacks than other data.
    """
    from variegate.errors import ConfigurationError
    from variegate.experiments.paper.paper import effort_of
    from variegate.experiments.paper.run import choose_experiments, refuse_another_record
    from variegate.experiments.paper.run import reproduce as run_experiment
    from variegate.files import make_folder
    from variegate.records.reproduction import ReproductionRecord

    chosen, effort = choose_experiments(experiments), effort_of(preset)
    if images is not None:
        effort = replace(effort, attack_images=images, collusion_images=images)
    budget, where = parse_rate(max_change, "--max-change"), choose_device(device)
    wanted = split_names(rewriters)
    said = split_pairs(note or [], "--note")
    names = [text.partition("=")[0] for text in study or ["digits="]]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"every --study needs a name of its own; got {', '.join(names)}")
    if unknown := sorted(set(said) - set(names)):
        raise ConfigurationError(f"--note speaks of {unknown[0]!r}, which is no study of this run")
    refuse_another_record(chosen, dict.fromkeys(names, seed), effort, out)
    make_folder(out)
    records: list[ReproductionRecord[Any]] = []
    try:
        with show_progress() as progress:
            sources, notes = _studies(
                study or [], out, home, rewriters=wanted, budget=budget, seed=seed, device=where, say=progress
            )
            notes = {name: {**text, **({"data": said[name]} if name in said else {})} for name, text in notes.items()}
            given: dict[str, Any] = {"out": out, "jobs": jobs, "command": typed_command(context), "notes": notes}
            records += [run_experiment(one, sources, effort, progress=progress, **given) for one in chosen]
    except KeyboardInterrupt:
        talk(f"what is done is kept in {out}; rerun the same command to resume")
        raise
    if as_json:
        print_json([record.to_dict() for record in records])
    else:
        from variegate.report.render import render_text

        for record in records:
            print_text(render_text(record))
    for record in records:
        talk(f"wrote {out / (record.experiment + '.json')}")
    talk(f"a page with figures: variegate report {out} --html reproduction.html")


def _studies(
    given: list[str],
    out: Path,
    home: Path,
    *,
    rewriters: tuple[str, ...],
    budget: float,
    seed: int,
    device: str,
    say: "Progress",
) -> tuple[list["StudySource"], dict[str, Any]]:
    """Return the studies and what the records shall say of them."""
    from variegate.experiments.paper.prepare import digits_study, home_study

    folder = out / "studies"
    if not given:
        found = [digits_study(folder / "digits", rewriters=rewriters, seed=seed, device=device, progress=say)]
    else:
        with open_desk(home, read_only=True) as desk:
            found = [
                home_study(
                    text, desk, folder, rewriters=rewriters, max_change=budget, seed=seed, device=device, progress=say
                )
                for text in given
            ]
    return [source for source, _ in found], {source.name: note for source, note in found}
