"""One attack on one target, with its summary and files: what stands behind `variegate attack`."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

import variegate
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.result import AttackResult
from variegate.data.images import LabelledImages
from variegate.errors import InputError
from variegate.evaluation.progress import Progress, silent
from variegate.files import write_atomic
from variegate.models.oracle import HardLabelOracle
from variegate.types import Bounds

__all__ = ["CHECKPOINT_FILE", "SingleAttack", "Target"]

CHECKPOINT_FILE = "attack.safetensors"


class Target(Protocol):
    """What is attacked: a `Classifier`, a `RewrittenCopy` or an `OnnxLabeler`."""

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        ...

    @property
    def bounds(self) -> Bounds:
        """The interval of valid input values."""
        ...

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (N,): hard labels."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleAttack:
    """How one attack is run.

    Attributes:
        command: what was typed, for the summary.
        target_name: what is attacked, for the summary.
        target_digest: identifies its parameters, so that a saved state is never continued on another target.
        attack: its hyper-parameters.
        images: how many inputs are attacked: the first ones of the pool.
        queries: the budget for each.
        targeted: whether each input gets a random other class to aim at, and an image of it to start from.
        seed: decides the attack's noise and the classes to aim at.
    """

    command: str
    target_name: str
    target_digest: str
    attack: HopSkipJump
    images: int
    queries: int
    targeted: bool
    seed: int

    def run(
        self,
        target: Target,
        pool: LabelledImages,
        *,
        out: Path | None,
        device: torch.device | str = "cpu",
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Attack, write summary.json and adversarials.npz to `out` if there is one, and return the summary.

        If the target fails while it labels, the files hold what was found until then, with -1 for the labels of the
        adversarials, and the summary's "error" says why; what was paid for is saved for a resume.

        Args:
            target: what is attacked.
            pool: images within the target's bounds; a targeted attack takes its starting points from all of them.
            out: an existing folder; the attack's state is saved in it, and is taken up if it is there.
            device: where the attack computes: that of the target.
            progress: called with what is done, how much is done, how much there is.

        Raises:
            InputError: if the images or labels do not fit the target, or a class to aim at has no image.
            VerificationError: if the state in `out` is of another attack.
        """
        say = progress or silent
        inputs, labels = torch.from_numpy(pool.images[: self.images]), torch.from_numpy(pool.labels[: self.images])
        oracle = HardLabelOracle(
            target.predict,
            input_shape=target.input_shape,
            bounds=target.bounds,
            num_classes=target.num_classes,
            samples=inputs.shape[0],
            budget=self.queries,
            device=device,
        )
        aims, starts = self._aims(target, pool) if self.targeted else (None, None)
        result = run_attack(
            self.attack,
            oracle,
            inputs,
            labels,
            seed=self.seed,
            targets=aims,
            starting_points=starts,
            checkpoint=None if out is None else out / CHECKPOINT_FILE,
            subject=f"{self.target_name} {self.target_digest}",
            progress=lambda done, total: say("attacking", done, total),
        )
        summary = self._summary(result, pool)
        if out is not None:
            arrays = {
                "clean": inputs.numpy(),
                "adversarial": result.adversarials.numpy(),
                "label": labels.numpy(),
                "adversarial_label": _labels_of(target, result),
                "status": np.array([status.value for status in result.status]),
                "queries": result.queries.numpy(),
                "distance": result.distances.numpy(),
            }
            write_atomic(out / "adversarials.npz", _npz(arrays))
            write_atomic(out / "summary.json", json.dumps(summary, indent=1, allow_nan=False).encode() + b"\n")
        return summary

    def _aims(self, target: Target, pool: LabelledImages) -> tuple[Tensor, Tensor]:
        """Return a random other class for each input, int64 (N,), and an image that the target puts into it."""
        everything, labels = torch.from_numpy(pool.images), torch.from_numpy(pool.labels[: self.images])
        predicted = target.predict(everything).cpu()
        shifts = np.random.default_rng(self.seed).integers(1, target.num_classes, labels.shape[0])
        aims = (labels + torch.from_numpy(shifts)) % target.num_classes
        first = {label: i for i, label in reversed(list(enumerate(predicted.tolist())))}
        if missing := sorted({label for label in aims.tolist() if label not in first}):
            raise InputError(f"no image is put into class {missing[0]}, to start from; give data that has all classes")
        return aims, everything[[first[label] for label in aims.tolist()]]

    def _summary(self, result: AttackResult, pool: LabelledImages) -> dict[str, Any]:
        found, queries = result.distances[result.success].double(), result.queries.double()
        return {
            "format": 1,
            "kind": "attack",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "variegate": variegate.__version__,
            "command": self.command,
            "target": self.target_name,
            "target_digest": self.target_digest,
            "data": {"name": pool.name, "images": len(result.status)},
            "attack": {
                "name": self.attack.name,
                "parameters": asdict(self.attack),
                "budget": self.queries,
                "targeted": self.targeted,
                "seed": self.seed,
            },
            "status": result.status_counts,
            "succeeded": int(found.numel()),
            "queries": {"total": int(queries.sum()), "median": float(queries.quantile(0.5))},
            "distance": {
                "norm": result.norm.value,
                **{name: _quantile(found, q) for name, q in (("p10", 0.1), ("median", 0.5), ("p90", 0.9))},
            },
            "seconds": round(result.seconds, 3),
            "error": result.error,
        }


def _quantile(values: Tensor, q: float) -> float | None:
    return float(values.quantile(q)) if values.numel() else None


def _labels_of(target: Target, result: AttackResult) -> np.ndarray:
    """Return int64 (N,): the target's labels of what was found, or -1 each where the target failed."""
    if result.error is not None:
        return np.full(len(result.status), -1, np.int64)
    return target.predict(result.adversarials).cpu().numpy()


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stubs take arrays for allow_pickle
    return buffer.getvalue()
