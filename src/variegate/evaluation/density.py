"""Curves of one quantity: Gaussian kernel density on a fixed grid, with the numbers that a curve alone hides.

The density is that of Scott (1992), as `scipy.stats.gaussian_kde` computes it by default: the mean of Gaussians around
the values, with bandwidth h = s n^(-1/5), s the sample standard deviation. One difference: h is at least half a step of
the grid. So values that are all equal (scipy refuses them), a single value, and values far narrower than the grid give
a peak that the grid can show; `bandwidth_raised` says where that was done. As in scipy, mass may lie past the ends
of a range that the values cannot leave (a cosine's, say): nothing is reflected or cut off.

Several values may come from one image. They share one density, but the interval of the mean is a bootstrap over images.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from variegate.errors import InputError
from variegate.records.reproduction import Curve, Grid

Floats = npt.NDArray[np.float64]

_QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
_REPLICATES = 2000
_BLOCK = 1 << 21  # kernel values, or drawn images, held at once
_DIGITS = 6  # significant ones, of what goes into a record


def symmetric_grid(half_width: float, points: int = 201) -> Floats:
    """Return `points` equal steps from -half_width to half_width, float64; with an odd number, 0 is one of them.

    Raises:
        InputError: fewer than 3 points, or no positive finite width.
    """
    if points < 3 or not 0.0 < half_width < math.inf:
        raise InputError(f"a grid needs at least 3 points and a positive width; got {points} points, {half_width:g}")
    return np.linspace(-half_width, half_width, points)


def gaussian_density(values: Floats, grid: Floats) -> tuple[Floats, float, bool]:
    """Return the density at the grid's points, float64 like `grid`, its bandwidth, and whether that was raised.

    Args:
        values: float64 (n,), finite, n at least 1.
        grid: float64 (g,), in equal ascending steps, g at least 2.

    Raises:
        InputError: no value, one that is not finite, or no grid.
    """
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise InputError("a density needs a row of at least one finite value")
    if grid.ndim != 1 or grid.size < 2 or not grid[1] > grid[0]:
        raise InputError("a density needs a grid of at least 2 ascending points")
    least = 0.5 * float(grid[1] - grid[0])
    scott = float(values.std(ddof=1)) * values.size**-0.2 if values.size > 1 else 0.0
    bandwidth = max(scott, least)
    total = np.zeros_like(grid)
    for part in np.array_split(values, max(1, math.ceil(values.size * grid.size / _BLOCK))):
        total += np.exp(-0.5 * ((grid[:, None] - part[None, :]) / bandwidth) ** 2).sum(1)
    return total / (values.size * bandwidth * math.sqrt(2.0 * math.pi)), bandwidth, scott < least


def mean_interval(values: Floats, *, seed: int = 0) -> tuple[float, float] | None:
    """Return the ends of a 95 % interval of the mean of all values: percentiles of a bootstrap over images.

    Args:
        values: float64 (images,) or (images, k), NaN where there is none.
        seed: of the draws.

    Returns:
        None for fewer than 2 images with a value.
    """
    table = values if values.ndim > 1 else values[:, None]
    known = np.isfinite(table)
    counts = known.sum(1)
    sums, counts = np.where(known, table, 0.0).sum(1)[counts > 0], counts[counts > 0]
    if counts.size < 2:
        return None
    generator, means = np.random.default_rng(seed), np.empty(_REPLICATES)
    block = max(1, _BLOCK // counts.size)
    for start in range(0, _REPLICATES, block):
        part = means[start : start + block]
        drawn = generator.integers(0, counts.size, (part.size, counts.size))
        part[:] = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def describe(values: Floats, grid: Floats, *, seed: int = 0, **counted: float | None) -> Curve:
    """Return a curve as a record holds it: numbers rounded to 6 significant digits, None where unknown.

    Args:
        values: float64 (images,) or (images, k), NaN where there is none.
        grid: float64 (g,), in equal ascending steps.
        seed: of the interval's bootstrap.
        counted: other fields of the curve, such as its shares.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    some = np.isfinite(values if values.ndim > 1 else values[:, None]).any(1)
    curve: dict[str, Any] = {"n": known.size, "images": int(some.sum()), **counted}
    ends = mean_interval(values, seed=seed)
    curve |= {"mean": None, "mean_low": None if ends is None else _plain(ends[0])}
    curve |= {"mean_high": None if ends is None else _plain(ends[1]), "sd": None, **dict.fromkeys(_QUANTILES)}
    curve |= {"bandwidth": None, "bandwidth_raised": None, "density": None, "peak": None}
    curve["grid"] = Grid(low=float(grid[0]), high=float(grid[-1]), points=grid.size)
    if not known.size:
        return Curve(**curve)
    density, bandwidth, raised = gaussian_density(known, grid)
    found = np.quantile(known, tuple(_QUANTILES.values()))
    curve |= {name: _plain(value) for name, value in zip(_QUANTILES, found, strict=True)}
    curve |= {
        "mean": _plain(float(known.mean())),
        "sd": _plain(float(known.std(ddof=1))) if known.size > 1 else None,
        "bandwidth": _plain(bandwidth),
        "bandwidth_raised": raised,
        "density": tuple(_plain(value) for value in density),
        "peak": _plain(float(grid[int(density.argmax())])),
    }
    return Curve(**curve)


def _plain(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
