"""`variegate spec` and `variegate policy`: what copies are made with, and on what terms they are issued."""

import re
from pathlib import Path
from typing import Annotated

import typer

from variegate.cli.desk import open_desk
from variegate.cli.options import HOME, AsJson, HomeFolder, ReplaceSpec, examples, parse_rate
from variegate.cli.output import print_described, print_json, print_listed, print_pairs, print_result, print_text, talk
from variegate.errors import ConfigurationError
from variegate.registry.rows import utc

_LIMIT_BYTES = 2**20
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIME = re.compile(r"([0-9]{1,9})([smhd])")
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)/([smhd])")


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="See rewriter specs, and save those written by hand.")
    group.command(
        "save",
        epilog=examples(
            "variegate spec save composed.json --name net-composed --model net",
            "variegate spec save qim.json --name strong --replace",
        ),
    )(save)
    group.command("ls", epilog=examples("variegate spec ls", "variegate spec ls --json"))(list_specs)
    group.command("show", epilog=examples("variegate spec show net-qim", "variegate spec show net-qim --json"))(
        show_spec
    )
    app.add_typer(group, name="spec")
    group = typer.Typer(no_args_is_help=True, help="Make policies and see which there are.")
    group.command(
        "create",
        epilog=examples(
            "variegate policy create prod --spec net-qim --max-change 2% --quota 1000000 --rate 100/s --valid 365d",
            "variegate policy create apart --spec net-permutation --equal-partners 3",
            "variegate policy create private --spec net-qim --forgettable",
        ),
    )(create)
    group.command("ls", epilog=examples("variegate policy ls", "variegate policy ls --json"))(list_policies)
    group.command("show", epilog=examples("variegate policy show prod", "variegate policy show prod --json"))(
        show_policy
    )
    app.add_typer(group, name="policy")


def save(
    file: Annotated[Path, typer.Argument(help="A JSON file with the rewriter's name and parameters.")],
    *,
    name: Annotated[str, typer.Option("--name", help="What to call the spec.")],
    model: Annotated[
        str | None, typer.Option("--model", help="The original that it is for; any one if left out.")
    ] = None,
    replace: ReplaceSpec = False,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Save a spec written by hand, to issue copies with.

    The file holds an object such as {"rewriter": "permutation", "alpha": 0.3}, or, to compose rewriters,
    {"rewriter": "composed", "parts": [..., ...]}. Nothing is calibrated: an audit says what such copies prevent.
    """
    from variegate.files import read_bounded
    from variegate.manifest import load_json

    values = load_json(read_bounded(file, _LIMIT_BYTES), f"the spec {file}")
    with open_desk(home) as desk:
        from variegate.rewriters.catalog import spec_from_dict

        saved = desk.save_spec(name, spec_from_dict(values), model=model, replace=replace)
    print_result(saved.to_dict(), f"saved the spec {name} ({saved.spec_digest[:19]}…)", as_json=as_json)


def list_specs(*, home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """List the specs that copies can be issued with."""
    with open_desk(home, read_only=True) as desk:
        specs = desk.list_specs()
    print_listed(
        [each.to_dict() for each in specs],
        ("NAME", "REWRITER", "MODEL", "CALIBRATED", "DIGEST"),
        [
            (s.name, s.spec["rewriter"], s.model or "any", "yes" if s.record else "no", f"{s.spec_digest[:19]}…")
            for s in specs
        ],
        empty="There is no spec yet; make one with: variegate calibrate",
        as_json=as_json,
    )


def show_spec(
    name: Annotated[str, typer.Argument(help="A spec, by its name.")],
    *,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Show one spec; the record of its calibration is shown by `variegate report` and with --json."""
    with open_desk(home, read_only=True) as desk:
        described = desk.saved_spec(name).to_dict()
    if as_json:
        print_json(described)
    else:
        print_pairs({key: value for key, value in described.items() if key != "record"})


def create(
    name: Annotated[str, typer.Argument(help="What to call the policy.")],
    *,
    spec: Annotated[str, typer.Option("--spec", help="The calibrated spec that copies are made with.")],
    max_change: Annotated[
        str | None,
        typer.Option("--max-change", help="The largest share of labels a copy may change; checked on the calibration."),
    ] = None,
    quota: Annotated[int | None, typer.Option("--quota", help="Queries that a copy answers in its life.")] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Queries that a copy answers, such as 100/s or 5000/h.")
    ] = None,
    valid: Annotated[str | None, typer.Option("--valid", help="How long a copy is valid: 12h, 365d.")] = None,
    equal_partners: Annotated[
        int | None,
        typer.Option(
            "--equal-partners",
            help="For permutations: how many classes may have the same partner in a copy under this policy and any "
            "earlier one, at most.",
        ),
    ] = None,
    forgettable: Annotated[
        bool,
        typer.Option("--forgettable", help="Give each key a salt of its own, so that it can be discarded for good."),
    ] = False,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Make a policy. It never changes afterwards; for other terms, make another one.

    Quota and rate are kept by the service that serves the copies; an artifact in the buyer's hands cannot keep them.
    """
    with open_desk(home) as desk:
        policy = desk.create_policy(
            name,
            spec=spec,
            max_label_change=None if max_change is None else parse_rate(max_change, "--max-change"),
            quota=quota,
            rate=None if rate is None else _parse_rate(rate),
            valid_seconds=None if valid is None else _parse_time(valid),
            most_equal_partners=equal_partners,
            forgettable=forgettable,
        )
    if as_json:
        print_json({"name": name, **policy.to_dict()})
    else:
        print_text(f"made the policy {name}")
        if forgettable and equal_partners is not None:
            talk("Once a key is discarded nobody can say how far its copy is from others: then no more are issued.")
        talk(f"issue with: variegate issue --model MODEL --policy {name} --buyer NAME")


def list_policies(*, home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """List the policies, oldest first."""
    with open_desk(home, read_only=True) as desk:
        rows = desk.policies()
    print_listed(
        [{"name": row.name, "added_at": utc(row.added_at), **row.body} for row in rows],
        ("NAME", "SPEC", "QUOTA", "RATE/S", "VALID", "EQUAL PARTNERS", "FORGETTABLE"),
        [
            (
                row.name,
                row.body["spec"],
                _shown(row.body["quota"]),
                _shown(row.body["rate"]),
                _shown_time(row.body["valid_seconds"]),
                _shown(row.body["most_equal_partners"]),
                "yes" if row.body["forgettable"] else "no",
            )
            for row in rows
        ],
        empty="There is no policy yet; make one with: variegate policy create",
        as_json=as_json,
    )


def show_policy(
    name: Annotated[str, typer.Argument(help="A policy, by its name.")],
    *,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Show one policy."""
    with open_desk(home, read_only=True) as desk:
        described = {"name": name, **desk.policy(name).to_dict()}
    print_described(described, as_json=as_json)


def _parse_time(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"--valid must be a number and s, m, h or d, such as 365d; got {text!r}")
    return int(found[1]) * _SECONDS[found[2]]


def _parse_rate(text: str) -> float:
    found = _RATE.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"--rate must be queries a time, such as 100/s, 60/m or 5000/h; got {text!r}")
    return float(found[1]) / _SECONDS[found[2]]


def _shown(value: object) -> str:
    if value is None:
        return "any"
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _shown_time(seconds: int | None) -> str:
    if seconds is None:
        return "ever"
    for unit in ("d", "h", "m"):
        if seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"
