"""A cross-check's record as a table and as sentences, for the terminal."""

from typing import Any

__all__ = ["ENGINE_COLUMNS", "engine_rows", "verdict_lines"]

ENGINE_COLUMNS = ("attack", "engine", "success", "95 %", "median norm", "queries", "overshoot", "replication", "95 %")

_NOTHING = "-"


def engine_rows(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return one row an engine, with the columns of `ENGINE_COLUMNS`: norms, queries and overshoot are medians."""
    return [
        (
            attack["name"],
            engine["name"],
            _counts(engine["rates"]["attack_success_rate"]),
            _interval(engine["rates"]["attack_success_rate"], ".0%"),
            _value(engine["median_distance"]["value"], ".4g"),
            _value(engine["attack"]["queries"]["median"], ",.0f"),
            _value(engine["median_overshoot"]["value"], ".2%"),
            _counts(engine["rates"]["replication_rate"]),
            _interval(engine["rates"]["replication_rate"], ".0%"),
        )
        for attack in record["attacks"]
        for engine in attack["engines"]
    ]


def verdict_lines(record: dict[str, Any]) -> list[str]:
    """Return one sentence a comparison."""
    lines = []
    for attack in record["attacks"]:
        for one in attack["comparisons"]:
            ratio = one["distance_ratio"]
            measured = (
                f"norm {_value(ratio['value'], '.3f')} times theirs ({_interval(ratio, '.3f')}; {ratio['n']} images)"
            )
            said = ", ".join(f"{name} {verdict}" for name, verdict in one["verdicts"].items())
            version = record["libraries"].get(one["theirs"]) or "of unknown version"
            lines.append(f"{attack['name']}, {one['ours']} against {one['theirs']} {version}: {said}; {measured}")
    return lines


def _counts(rate: dict[str, Any]) -> str:
    return f"{rate['k']}/{rate['n']}" if rate["n"] else _NOTHING


def _interval(one: dict[str, Any], form: str) -> str:
    return _NOTHING if one["low"] is None else f"{one['low']:{form}} to {one['high']:{form}}"


def _value(value: float | None, form: str) -> str:
    return _NOTHING if value is None else f"{value:{form}}"
