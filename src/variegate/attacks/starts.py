"""Starting points: a first adversarial for each input, or the honest status that there is none."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from variegate.attacks.base import Asker, AttackProblem, AttackState, fill_status, replace_rows
from variegate.oracles.checks import require_at_least, require_one_of
from variegate.types import Bounds, Status

Starts = Literal["uniform", "varied"]


def require_starts(trials: int, starts: str) -> None:
    """Check these two hyper-parameters.

    Raises:
        ConfigurationError: there is no such kind of start, or no trial.
    """
    require_at_least("start_trials", trials, 1)
    require_one_of("starts", starts, ("varied", "uniform"))


def start_all(
    ask: Asker, problem: AttackProblem, state: AttackState, *, trials: int, starts: Starts
) -> tuple[AttackState, Tensor]:
    """Find a start for each running input; give those without one their status.

    Returns:
        (the state with starts as points, int64 (M,): the rows that have one).
    """
    points, found = find_starts(ask, problem, state.running, bounds=ask.oracle.bounds, trials=trials, starts=starts)
    return settle_starts(ask, state, points, found)


def settle_starts(ask: Asker, state: AttackState, points: Tensor, found: Tensor) -> tuple[AttackState, Tensor]:
    """Take the starts that were found for the running inputs; give those without one their status.

    Args:
        points: float32 (M, *input_shape), for the M running inputs.
        found: bool (M,): which of them are adversarial.

    Returns:
        (the state with starts as points, int64 (K,): the rows that have one).
    """
    rows = state.running
    spent = ask.remaining(rows) == 0
    status = fill_status(state.status, rows[~found & ~spent], Status.NO_STARTING_POINT)
    status = fill_status(status, rows[~found & spent], Status.BUDGET_EXHAUSTED)
    rows, points = rows[found], points[found]
    return replace(state, points=replace_rows(state.points, rows, points), status=status), rows


def find_starts(
    ask: Asker, problem: AttackProblem, rows: Tensor, *, bounds: Bounds, trials: int, starts: Starts
) -> tuple[Tensor, Tensor]:
    """Try random inputs until each row has an adversarial one; one query a trial and row.

    Args:
        rows: int64 (M,), the inputs that need a start.
        trials: trials for each row.
        starts: "uniform": uniform noise, as the published attack does; "varied": uniform noise, then coarse blocks and
            flat colours in turn, because some classes swallow all noise.

    Returns:
        (points float32 (M, *input_shape), found bool (M,)).
    """
    clean = problem.inputs[rows]
    points, found = clean.clone(), torch.zeros(rows.shape[0], dtype=torch.bool, device=rows.device)
    if problem.starting_points is not None:
        given = problem.starting_points[rows]
        affordable = (ask.remaining(rows) > 0).nonzero().flatten()
        found[affordable] = ask(given[affordable], rows[affordable])
        points = torch.where(found.view(-1, *([1] * (clean.ndim - 1))), given, points)
    for trial in range(trials):
        open_rows = (~found & (ask.remaining(rows) > 0)).nonzero().flatten()
        if open_rows.numel() == 0:
            break
        drawn = torch.stack([_draw(problem, row, trial, bounds, starts) for row in rows[open_rows].tolist()])
        hit = ask(drawn, rows[open_rows])
        points[open_rows[hit]] = drawn[hit]
        found[open_rows[hit]] = True
    return points, found


def _draw(problem: AttackProblem, row: int, trial: int, bounds: Bounds, starts: Starts) -> Tensor:
    shape = tuple(problem.inputs.shape[1:])
    noise = problem.noise.start(row, trial, shape)
    kind = 0 if starts == "uniform" else trial % 3
    if kind and len(shape) >= 2:
        side = 4 if kind == 1 else 1
        coarse = noise[tuple([slice(None)] + [slice(0, side)] * (len(shape) - 1))]
        for axis, extent in enumerate(shape[1:], start=1):
            index = torch.arange(extent, device=noise.device) * coarse.shape[axis] // extent
            coarse = coarse.index_select(axis, index)
        noise = coarse
    return bounds.lower + bounds.range * noise
