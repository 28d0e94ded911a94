"""Long commands: how far they are, what to do after an interruption, and gates on what they measured.

Progress is a bar with the remaining time on a terminal, and a plain line now and then elsewhere.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from variegate.cli.output import talk
from variegate.errors import GateError

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


@contextmanager
def resumable(folder: Path | None, *states: str) -> Iterator[Progress]:
    """Show progress while the block runs; an interruption says how to resume.

    Args:
        folder: where the run saves its state, if it does.
        states: patterns of the files of a state: without one of them there is nothing to resume. None: always resume.
    """
    try:
        with show_progress() as progress:
            yield progress
    except KeyboardInterrupt:
        if folder is not None and (not states or any(any(folder.glob(state)) for state in states)):
            talk(f"what is done is saved; resume with the same options and {resuming(folder)}")
        raise


def resuming(folder: Path) -> str:
    """Return the options that resume a run."""
    return f"--resume {folder} in place of --out"


def require_below(limit: float | None, rates: Mapping[str, float | None], *, what: str) -> None:
    """Check measured rates against the limit that was asked for, if one was.

    Args:
        limit: a fraction, or None.
        rates: the rate of each; None where it could not be measured.
        what: what the rates are, such as "the replication rate".

    Raises:
        GateError: names those that are above the limit or could not be measured.
    """
    if limit is None:
        return
    if unknown := [name for name, rate in rates.items() if rate is None]:
        raise GateError(f"{what} could not be measured for {', '.join(unknown)}: no attack succeeded")
    if above := [f"{name} {rate:.1%}" for name, rate in rates.items() if rate is not None and rate > limit]:
        raise GateError(f"{what} is above {limit:.1%}: {', '.join(above)}")


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
