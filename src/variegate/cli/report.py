"""`variegate report`: records as text, or as a page with figures."""

from pathlib import Path
from typing import Annotated

import typer

from variegate.cli.options import AsJson, examples
from variegate.cli.output import print_json, talk


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "report",
        epilog=examples(
            "variegate report audit/",
            "variegate report audit/record.json .variegate/specs/net-qim.json --html audit.html",
            "variegate report cifar/record.json gtsrb/record.json --html both.html",
            "variegate report audit/ --figures figures/",
            "variegate report hsj/ geoda/ --html attacks.html --figures figures/",
            "variegate report check/ --html cross-check.html",
            "variegate report collusion/",
            "variegate report reproduction/ --html reproduction.html",
        ),
    )(report)


def report(
    records: Annotated[
        list[Path],
        typer.Argument(
            help="Records or saved specs (JSON), or folders with a record.json or with the records of `reproduce`."
        ),
    ],
    *,
    html: Annotated[Path | None, typer.Option("--html", help="Write a self-contained page to this file.")] = None,
    figures: Annotated[Path | None, typer.Option("--figures", help="Write the figures as SVG and PNG here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show records of audits, collusion, calibrations, attacks, cross-checks, reproductions.

    As text, or with --html as a page that needs no other file; pictures beside a record are shown, too. Of several
    audits, the page is an index, and each audit gets its own page beside it, with the calibrations of its original.
    Attacks stand side by side: in one table, in one figure of norm against queries, on one page of their own. The
    tables and figures of a reproduction share one page, which opens with the paper's Table 2.
    """
    from variegate.report.publish import load_records, record_texts, write_figures, write_pages

    loaded = load_records(records)
    if as_json:
        print_json([one.record.to_dict() for one in loaded])
    elif html is None and figures is None:
        typer.echo("\n".join(record_texts(loaded)), nl=False)
    if html is not None:
        for path in write_pages(loaded, html):
            talk(f"wrote {path}")
    if figures is not None:
        talk(f"wrote {len(write_figures(loaded, figures))} files to {figures}")
