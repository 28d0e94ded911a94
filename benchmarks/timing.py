"""Timings that stand up to a machine with other work: rounds in alternating order, ratios within a round, medians.

A ratio compares two actions of one round, so that a slow minute slows both. Beside the wall clock there is the CPU time
of the process: with one thread it hardly sees other processes (they still share caches and memory); with more threads
it counts waiting threads as busy, and says nothing.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np


@final
@dataclass(slots=True)
class Samples:
    """Seconds of one action, one number a round: by the wall clock, and CPU time of all threads."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """Return the shortest wall-clock time."""
        return min(self.wall)

    @property
    def median(self) -> float:
        """Return the median wall-clock time."""
        return float(np.median(self.wall))


def alternate(actions: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 1) -> dict[str, Samples]:
    """Run every action once a round, in turning order, and return their times.

    Args:
        actions: by name.
        rounds: how often.
        warm_up: rounds before, not counted.
    """
    samples = {name: Samples() for name in actions}
    names = list(actions)
    for number in range(-warm_up, rounds):
        for name in names if number % 2 else reversed(names):
            cpu, wall = time.process_time(), time.perf_counter()
            actions[name]()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if number >= 0:
                samples[name].wall.append(wall)
                samples[name].cpu.append(cpu)
    return samples


def ratio(above: Samples, below: Samples, *, scale: float = 1.0) -> dict[str, Any]:
    """Return how many times longer `above` took than `below`, times `scale`.

    Returns:
        median and quartiles over rounds (wall clock), `best` (shortest over shortest), `cpu` (median by CPU time).
    """
    wall = scale * np.array(above.wall) / np.array(below.wall)
    cpu = scale * np.array(above.cpu) / np.maximum(np.array(below.cpu), 1e-9)
    low, middle, high = (float(value) for value in np.percentile(wall, (25, 50, 75)))
    return {
        "median": middle,
        "p25": low,
        "p75": high,
        "best": scale * above.best / below.best,
        "cpu": float(np.median(cpu)),
        "rounds": len(above.wall),
    }
