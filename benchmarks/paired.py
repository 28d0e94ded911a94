"""What the comparisons of attacks image by image share: lines kept between runs, medians and bootstrap intervals."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from variegate.errors import FormatError

FEWEST = 6
"""Paired images that a verdict needs: the range of fewer covers the median in less than 95 % of cases."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


def attack_code() -> str:
    """Return a digest of the code of attacks and models, so that results of other code can be told apart."""
    import variegate

    root = Path(next(iter(variegate.__path__)))
    files = sorted(path for part in ("attacks", "models") for path in (root / part).rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def kept_lines(path: Path, keys: tuple[str, ...]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield (the values of `keys`, the entry) of each line of a file of results, or nothing if there is no file.

    Raises:
        FormatError: a line is not an object with these keys and `checkpoints`.
    """
    if not path.exists():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            key = tuple(entry[name] for name in keys)
            _ = tuple(entry["checkpoints"])
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"line {number} of {path} is no result of this benchmark; delete the line") from error
        yield key, entry


def append_line(path: Path, entry: dict[str, Any]) -> None:
    """Add an entry to a file of results, and see that it is on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def stale_note(name: str, versions: Iterable[str | None]) -> None:
    """Say so where kept results are of other attack code than the present (None: of another library)."""
    if stale := sorted({version for version in versions if version not in (None, attack_code())}):
        print(f"note: {name} holds results of other attack code ({', '.join(stale)}); delete the file to attack anew")


def medians(values: Floats) -> list[float | None]:
    """Return medians over images (rows); without an adversarial (NaN) one is infinitely far, and None is infinite."""
    found = np.median(np.where(np.isnan(values), np.inf, values), axis=0)
    return [float(value) if np.isfinite(value) else None for value in found]


def failures(values: Floats) -> int:
    """Return how many images have no adversarial at the last number of queries."""
    return int(np.isnan(values[:, -1]).sum())


def jsonable(values: Floats) -> list[list[float | None]]:
    """Return lists, with None for NaN."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def estimate(value: float, resampled: Floats) -> dict[str, float]:
    """Return a value with the 2.5th and 97.5th percentiles of its resamples."""
    low, high = (float(end) for end in np.percentile(resampled, (2.5, 97.5)))
    return {"value": value, "low": low, "high": high}


def interval_text(value: dict[str, float]) -> str:
    """Return the ends of an estimate for a table."""
    return f"{value['low']:.3f} to {value['high']:.3f}"


def median_interval(values: Floats, *, resamples: int, seed: int) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % bootstrap interval of the median; as `medians` has it, None is infinite.

    Args:
        values: float64 (images,), NaN where there is no adversarial.
        resamples: of the images.
        seed: decides them.
    """
    far = np.where(np.isnan(values), np.inf, values)
    drawn = np.random.default_rng(seed).integers(0, len(far), (resamples, len(far)))
    ends = np.percentile(np.median(far[drawn], axis=1), (2.5, 97.5), method="nearest")
    low, high = (float(end) if np.isfinite(end) else None for end in ends)
    return low, high


def ratios(a: Floats, b: Floats, *, resamples: int, seed: int) -> dict[str, Any] | None:
    """Compare two attacks on the images where both have an adversarial; None where there is no such image.

    The ratio of medians is the number that people quote; images differ far more than attacks, so its interval is wide.
    The median of the ratios image by image says the same with less noise.

    Args:
        a, b: float64 (images,), NaN where there is no adversarial.
        resamples: of the images.
        seed: decides them.
    """
    both = ~np.isnan(a) & ~np.isnan(b)
    x, y = a[both], b[both]
    if len(x) == 0:
        return None
    drawn = np.random.default_rng(seed).integers(0, len(x), (resamples, len(x)))
    of_medians = np.median(x[drawn], axis=1) / np.median(y[drawn], axis=1)
    of_ratios = np.median((x / y)[drawn], axis=1)
    return {
        "images": int(both.sum()),
        "ratio_of_medians": estimate(float(np.median(x) / np.median(y)), of_medians),
        "median_of_ratios": estimate(float(np.median(x / y)), of_ratios),
    }
