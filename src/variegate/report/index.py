"""Several records joined into one page: a row per model and group, figures over all, links to the single pages."""

from collections.abc import Sequence
from urllib.parse import quote

from variegate.errors import ConfigurationError
from variegate.records.attack import AttackRecord
from variegate.records.base import Rate
from variegate.records.calibration import CalibrationRecord
from variegate.records.collusion import CollusionRecord
from variegate.records.cross_check import CrossCheckRecord
from variegate.records.load import parse_record
from variegate.records.replication import Group, ReplicationRecord
from variegate.report.cautions import cautions
from variegate.report.comparison import comparison
from variegate.report.measures import accuracy_change, mean_accuracy, norm_kept, rate_at, stops_protecting
from variegate.report.pages import render_template, swatches
from variegate.report.summary import calibration_title, calibration_verdict, setting
from variegate.report.words import NOTHING, group_title, norm, percent, points, short_interval

STEPS = (1.0, 1.5, 2.0)


def render_index(
    records: Sequence[object], links: Sequence[str | None] | None = None, *, title: str = "Replication reports"
) -> str:
    """The index page of several records.

    Args:
        records: replication and calibration records, as JSON gives them or parsed.
        links: for each record the file of its own page, relative to the index, or None.
        title: the page's heading.

    Raises:
        InputError: if a field of a record is missing or wrong; the sentence names it.
        ConfigurationError: if there are no records, if some are of attacks, cross-checks or collusion, or if the links
            do not fit them or are not relative.
    """
    parsed = [parse_record(record) for record in records]
    if any(isinstance(record, AttackRecord | CrossCheckRecord | CollusionRecord) for record in parsed):
        raise ConfigurationError(
            "an index holds audits and calibrations; show records of attacks, cross-checks and collusion on other pages"
        )
    addresses = _addresses(links, len(parsed))
    replications = [
        (record, link) for record, link in zip(parsed, addresses, strict=True) if isinstance(record, ReplicationRecord)
    ]
    calibrations = [
        (calibration_title(record), link, calibration_verdict(record))
        for record, link in zip(parsed, addresses, strict=True)
        if isinstance(record, CalibrationRecord)
    ]
    models = [record for record, _ in replications]
    rows = [_row(record, group, link) for record, link in replications for group in record.groups]
    return render_template(
        "index.html.j2",
        title=title,
        drawings=[comparison(models, s=s) for s in (1.0, 2.0)] if models else [],
        columns=(
            "model",
            "group",
            *(f"s = {s:g}" for s in STEPS),
            "stops protecting at norm",
            "norm kept",
            "accuracy",
            "change (points)",
        ),
        rows=rows,
        swatches=swatches(dict.fromkeys(group.name for record in models for group in record.groups)),
        settings=[setting(record) for record in models],
        cautions=[(record.model.name, line) for record in models for line in cautions(record)],
        calibrations=calibrations,
        count=len(parsed),
    )


def _addresses(links: Sequence[str | None] | None, count: int) -> list[str | None]:
    if not count:
        raise ConfigurationError("an index needs at least one record; got none")
    if links is None:
        return [None] * count
    if len(links) != count:
        raise ConfigurationError(f"expected one link per record, {count} in all; got {len(links)}")
    for link in links:
        if link is not None and (not link or link.startswith("/")):
            raise ConfigurationError(
                f"a link in an index must be a relative file such as model.html; got {link[:80]!r}"
            )
    return [None if link is None else quote(link) for link in links]


def _row(record: ReplicationRecord, group: Group, link: str | None) -> dict[str, object]:
    mean, sd = mean_accuracy(group)
    cells = [_rate(rate_at(group, s)) for s in STEPS]
    cells += [
        (NOTHING if group.name == "noise" else stops_protecting(group).words, ""),
        (norm(norm_kept(record, group)), ""),
        (percent(mean), "" if sd is None else f"sd {points(sd)}"),
        (points(accuracy_change(group), signed=True), ""),
    ]
    return {
        "model": record.model.name,
        "link": link,
        "group": group_title(group.name),
        "first": group is record.groups[0],
        "cells": cells,
    }


def _rate(rate: Rate | None) -> tuple[str, str]:
    if rate is None:
        return NOTHING, ""
    below = "" if rate.low is None or rate.high is None else f"{short_interval(rate.low, rate.high)}; "
    return percent(rate.rate), f"{below}{rate.k}/{rate.n}"
