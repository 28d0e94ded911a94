"""Table 3: what a further copy costs by each method: seconds of training, bytes of storage, milliseconds of inference.

Timings are of this machine and of one process that does nothing else, so this task never runs beside others. Training
is not run to its end: steps of forward, backward and update are timed, and multiplied by the steps of 200 epochs of
50,000 images, as the paper trains; the record says so. Storage of a rewritten copy is what the registry keeps of it: a
row, measured as the growth of a SQLite registry over 4,000 of them. Of its key nothing is kept, and its messages are
made again on demand: `message_bytes` is what they take in memory.
"""

import copy
import hashlib
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from variegate.evaluation.shards import Arrays, ShardFolder, ShardTask
from variegate.experiments.paper.paper import Effort
from variegate.experiments.paper.study import REWRITERS, CopyOf, StudySource, load_study
from variegate.manifest import ModelManifest
from variegate.models.classifier import Classifier
from variegate.records.reproduction import INDEPENDENT, CostResults, CostRow
from variegate.registry.bulk import add_copies
from variegate.registry.records import add_model, add_spec
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow
from variegate.rewriters.base import RewrittenCopy
from variegate.rewriters.cache import head_bytes

_ROWS = 4000
_EPOCHS, _TRAINING_IMAGES, _BATCH = 200, 50_000, 128
_BATCHES = (1, 256)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TimingShard:
    """All timings of one study, in turn, so that a change of the machine's speed meets all alike.

    Attributes:
        source: the study; its first original is timed.
        repeats: of every timing.
    """

    source: StudySource = field(repr=False)
    repeats: int

    @property
    def name(self) -> str:
        """A file name."""
        return f"{self.source.name}-timing"

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the result, the machine too."""
        machine = [platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability()]
        if (device := torch.device(self.source.device)).type == "cuda":
            machine.append(_name_of(device))
        return {"study": self.source.identity, "repeats": self.repeats, "machine": machine, "revision": 4}

    @property
    def cost(self) -> float:
        """About how many forward rows."""
        return float(self.repeats * 4 * (sum(_BATCHES) + 3 * _BATCH))

    def run(self) -> Arrays:
        """Return seconds, float64 (repeats,) each, and a size.

        Keys: "NAME/BATCH" of answering a batch, "training" of one step; registry_bytes float64 (), of one copy.
        """
        study = load_study(self.source)
        original = study.originals[0]
        targets: dict[str, Classifier | RewrittenCopy] = {"original": original}
        targets |= {name: study.classifier(CopyOf(0, name, 0)) for name in REWRITERS if name in study.specs}
        noise = torch.rand((max(_BATCHES), *original.input_shape), generator=torch.Generator().manual_seed(0))
        x = (original.bounds.lower + original.bounds.range * noise).to(original.device)
        actions: dict[str, Callable[[], object]] = {
            f"{name}/{batch}": _asking(target, x[:batch]) for name, target in targets.items() for batch in _BATCHES
        }
        actions["training"] = _training_step(original, x)
        seconds: dict[str, list[float]] = {name: [] for name in actions}
        for action in actions.values():
            action()  # warms up
        for _ in range(self.repeats):
            for name, action in actions.items():
                if name != "training":
                    action()  # untimed: what ran before leaves the caches in another state for each
                seconds[name].append(_timed(action, original.device))
        arrays = {name: np.array(values) for name, values in seconds.items()}
        return {**arrays, "registry_bytes": np.array(_registry_bytes(self.source.originals[0][0]))}


def tasks(source: StudySource, effort: Effort) -> list[ShardTask]:
    """Return the one task."""
    return [_shard(source, effort)]


def collect(source: StudySource, effort: Effort, shards: ShardFolder) -> CostResults:
    """Return the study's part of the table."""
    study = load_study(source)
    seconds = shards.require(_shard(source, effort))
    original = study.originals[0]
    state = sum(value.numel() * value.element_size() for value in original.module.state_dict().values())
    step = float(np.median(seconds["training"]))
    asked = {batch: float(np.median(seconds[f"original/{batch}"])) for batch in _BATCHES}
    rows = {
        "original": CostRow(inference_ms={str(batch): 1e3 * asked[batch] for batch in _BATCHES}),
        INDEPENDENT: CostRow(
            training_seconds=step * _EPOCHS * _TRAINING_IMAGES / _BATCH,
            storage_bytes=state,
            additional_inference_ms={str(batch): 0.0 for batch in _BATCHES},
        ),
    }
    for name in REWRITERS:
        if name not in source.specs:
            continue
        head = study.head(CopyOf(0, name, 0))
        rows[name] = CostRow(
            training_seconds=0.0,
            storage_bytes=float(seconds["registry_bytes"]),
            message_bytes=head_bytes(head),
            additional_inference_ms={
                str(batch): 1e3 * float(np.median(seconds[f"{name}/{batch}"] - seconds[f"original/{batch}"]))
                for batch in _BATCHES
            },
        )
    return CostResults(
        rows=rows,
        device=_name_of(original.device),
        threads=1,
        repeats=effort.timing_repeats,
        training=f"one step of {_BATCH} images times the steps of {_EPOCHS} epochs of {_TRAINING_IMAGES:,} images",
        step_seconds=step,
    )


def _shard(source: StudySource, effort: Effort) -> TimingShard:
    return TimingShard(source=source, repeats=effort.timing_repeats)


def _asking(target: Classifier | RewrittenCopy, x: Tensor) -> Callable[[], object]:
    return lambda: target.predict(x)


def _training_step(original: Classifier, x: Tensor) -> Callable[[], object]:
    """Return one step of stochastic gradient descent on a copy of the network, with the batch of the paper's size."""
    module: nn.Module = copy.deepcopy(original.module).train().requires_grad_(True)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0, momentum=0.9)
    batch = x[:_BATCH].to(original.device)
    labels = torch.arange(len(batch), device=original.device) % original.num_classes

    def step() -> None:
        with torch.enable_grad():
            loss = nn.functional.cross_entropy(module(batch), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return step


def _registry_bytes(model: ModelManifest) -> float:
    """Return how many bytes a registry grows by for one more copy, indexes included."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.db"
        with Registry(path, create=True) as store:
            store.write(add_model, model)
            spec = store.write(add_spec, "spec", {"rewriter": "qim"})

        def grown(first: int) -> int:
            with Registry(path) as store:
                store.write(add_copies, _rows(model, spec, range(first, first + _ROWS)))
            return sum(file.stat().st_size for file in Path(folder).iterdir())

        before = grown(0)  # and the log is written back when the store is closed
        return (grown(_ROWS) - before) / _ROWS


def _rows(model: ModelManifest, spec: str, numbers: range) -> Iterator[CopyRow]:
    for number in numbers:
        name = hashlib.sha256(str(number).encode()).hexdigest()[:20]
        yield CopyRow(
            copy_id=f"vg1-{name}",
            model=model.name,
            model_digest=model.digest,
            spec_digest=spec,
            buyer=f"buyer-{number:09d}",
            issued_at=0,
        )


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _timed(action: Callable[[], object], device: torch.device) -> float:
    _wait_for(device)
    started = time.perf_counter()
    action()
    _wait_for(device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    """Wait until a GPU, which answers before it is done, has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
