"""Shards: parts of an experiment that are computed once, by any process, and kept in a folder.

A task is a frozen dataclass that can be sent to another process; what it returns is arrays by name. Its file is named
after it and after a digest of everything that decides the result, so a killed experiment goes on with the tasks that
are missing, and shards of other settings stay beside those of the present ones, neither taken over nor overwritten.
Every task runs on one thread of torch, whatever the number of processes. A shard also says which code made it, where.
"""

import hashlib
import io
import json
import multiprocessing
import os
import sys
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt
import torch

from variegate import __version__
from variegate.errors import ConfigurationError, FormatError, VariegateError, VerificationError
from variegate.evaluation.progress import Progress, silent
from variegate.evaluation.provenance import source_digest
from variegate.files import make_folder, read_bounded, write_atomic

Arrays = Mapping[str, npt.NDArray[Any]]

_DIGEST, _MADE = "task_digest", "made_by"
_LIMIT = 2**33
_NAMED = 12  # digits of the digest in a file's name


class ShardTask(Protocol):
    """One part of an experiment: picklable, and a pure function of what it holds."""

    @property
    def name(self) -> str:
        """A file name without suffix, unique among the experiment's tasks."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON values that decide the result, without paths; count up a `revision` in it when the code changes."""
        ...

    @property
    def cost(self) -> float:
        """About how much work it is, in any unit that all tasks of the experiment share."""
        ...

    def run(self) -> Arrays:
        """Compute the arrays."""
        ...


@final
@dataclass(frozen=True, slots=True)
class ShardFolder:
    """A folder of shards.

    Attributes:
        folder: is made when the first shard is kept.
    """

    folder: Path

    def run(self, tasks: Sequence[ShardTask], *, jobs: int = 1, progress: Progress | None = None) -> None:
        """Compute what is missing, largest first, on `jobs` processes; with one job in this process.

        Raises:
            ConfigurationError: two tasks have the same name, or `jobs` is below 1.
            VariegateError: a task failed; the shards that are done stay.
        """
        if jobs < 1:
            raise ConfigurationError(f"jobs must be at least 1; got {jobs}")
        if len({task.name for task in tasks}) < len(tasks):
            raise ConfigurationError("two tasks of this experiment have the same name")
        say = progress or silent
        total = sum(task.cost for task in tasks)
        missing = sorted((task for task in tasks if not self.has(task)), key=lambda task: -task.cost)
        done = total - sum(task.cost for task in missing)
        scale = 1000.0 / total if total else 0.0
        say("reproducing", int(done * scale), 1000)
        for task in self._computed(missing, jobs):
            done += task.cost
            say(f"reproducing ({task.name})", int(done * scale), 1000)

    def has(self, task: ShardTask) -> bool:
        """Return whether a task was done; its file is not read."""
        return self._path(task).exists()

    def get(self, task: ShardTask) -> dict[str, npt.NDArray[Any]] | None:
        """Return the arrays of a task that was done, or None.

        Raises:
            FormatError: its file cannot be read, or is another task's.
        """
        arrays = self._read(task)
        return None if arrays is None else {name: array for name, array in arrays.items() if name != _MADE}

    def made_by(self, tasks: Iterable[ShardTask]) -> list[dict[str, Any]]:
        """Return which code made the shards of these tasks, and where: each kind once, with how many shards it made."""
        seen = Counter(str(arrays[_MADE]) for task in tasks if (arrays := self._read(task, only=_MADE)) is not None)
        return [{**json.loads(text), "shards": count} for text, count in sorted(seen.items())]

    def require(self, task: ShardTask) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of a task that `run` has done.

        Raises:
            ConfigurationError: it was not done.
        """
        arrays = self.get(task)
        if arrays is None:
            raise ConfigurationError(f"the shard {task.name} is missing in {self.folder}; run the experiment first")
        return arrays

    def _path(self, task: ShardTask) -> Path:
        return self.folder / f"{task.name}-{_digest(task)[:_NAMED]}.npz"

    def _read(self, task: ShardTask, *, only: str | None = None) -> dict[str, npt.NDArray[Any]] | None:
        path = self._path(task)
        if not path.exists():
            return None
        try:
            with np.load(io.BytesIO(read_bounded(path, _LIMIT)), allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in kept.files if name == _DIGEST or only in (None, name)}
            known = str(arrays.pop(_DIGEST))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise FormatError(f"{path} is no shard or is truncated; delete it to compute it again") from error
        if known != _digest(task):
            raise FormatError(f"{path} is a shard of another task; delete it to compute this one")
        return arrays

    def _computed(self, tasks: Sequence[ShardTask], jobs: int) -> Iterator[ShardTask]:
        """Compute and keep each task, and yield it."""
        if jobs == 1 or len(tasks) < 2:
            for task in tasks:
                with _settled():
                    _compute(task, self._path(task), _digest(task))
                yield task
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context, initializer=_settle) as pool:
            futures: dict[Future[None], ShardTask] = {
                pool.submit(_compute, task, self._path(task), _digest(task)): task for task in tasks
            }
            try:
                while futures:
                    for future in wait(futures, return_when=FIRST_COMPLETED).done:
                        task = futures.pop(future)
                        future.result()
                        yield task
            except BrokenProcessPool as error:
                raise VariegateError(
                    "a worker process was killed, perhaps for want of memory; run the same command again with fewer "
                    "--jobs: what is done is kept"
                ) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _settled() -> Iterator[None]:
    """Let torch use one thread inside the block, and the same algorithms of a GPU every time."""
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic
    _set_torch()
    try:
        yield
    finally:
        _set_torch(*before)


def _set_torch(threads: int = 1, deterministic: bool = True) -> None:  # noqa: FBT001, FBT002 (put back by position)
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = deterministic


def _settle() -> None:
    """Do in a worker what `_settled` does, and keep stdout for results, whatever a seller's code prints."""
    os.environ["OMP_NUM_THREADS"] = "1"
    _set_torch()
    sys.stdout = sys.stderr


def _compute(task: ShardTask, path: Path, digest: str) -> None:
    if _digest(task) != digest:
        raise VerificationError(f"the data or an original changed while {task.name} was waiting; run the command again")
    started = time.monotonic()
    arrays = dict(task.run())
    made: dict[str, Any] = {
        "source": source_digest(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": 1,
    }
    if _on_a_gpu(task.identity):
        made["gpu"] = torch.cuda.get_device_name()
    arrays |= {"seconds": np.array(time.monotonic() - started), _MADE: np.array(json.dumps(made, sort_keys=True))}
    arrays[_DIGEST] = np.array(digest)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stubs take arrays for allow_pickle
    make_folder(path.parent)
    write_atomic(path, buffer.getvalue())


def _on_a_gpu(identity: Mapping[str, Any]) -> bool:
    """Say whether a task's study, or that of the task it goes on from, runs on a GPU."""
    nested = (value for value in identity.values() if isinstance(value, Mapping))
    return identity.get("device") == "cuda" or any(_on_a_gpu(value) for value in nested)


def _digest(task: ShardTask) -> str:
    """Digest of what decides a task's result, the versions of variegate and torch too."""
    identity = {"task": type(task).__name__, "variegate": __version__, "torch": str(torch.__version__), **task.identity}
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()
