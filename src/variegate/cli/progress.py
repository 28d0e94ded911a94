"""How far a long command is: a bar with the remaining time on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from variegate.cli.output import talk

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how much is done, how much there is; 0 for unknown)."""

_LINE_SECONDS = 10.0


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Show progress on stderr while the block runs."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda what, done, total: bars.update(
            task, description=what.replace("[", r"\["), completed=done, total=total or None
        )


def _lines(clock: Callable[[], float] = time.monotonic) -> Progress:
    """Return a progress that says one line at once and then one every 10 seconds at most."""
    spoken, started, first, size = -_LINE_SECONDS, clock(), 0, -1

    def say(what: str, done: int, total: int) -> None:
        nonlocal spoken, started, first, size
        now = clock()
        if total != size or done < first:  # another stretch of work
            started, first, size = now, done, total
        if now - spoken < _LINE_SECONDS:
            return
        spoken = now
        if total <= 0:
            talk(what)
            return
        line = f"{what}: {done:,} of {total:,} ({100 * done // total} %)"
        if done > first:
            line += f", about {_duration((now - started) * (total - done) / (done - first))} left"
        talk(line)

    return say


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
