"""Which code measured a record, on what, and how fast the target answers by itself."""

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import variegate
from variegate.models.classifier import Classifier, question_rows
from variegate.types import InputSpec


@cache
def source_digest() -> str:
    """Return "sha256:..." over names and contents of the package's Python files, in the order of their names."""
    root = Path(variegate.__file__).parent
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        sha.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        sha.update(content)
    return f"sha256:{sha.hexdigest()}"


def made_now(*, command: str, seconds: float) -> dict[str, Any]:
    """Return the fields of `variegate.records.base.Provenance` that every record has.

    Args:
        command: what was typed.
        seconds: wall-clock seconds of the run.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "variegate": variegate.__version__,
        "source": source_digest(),
        "torch": str(torch.__version__),
        "command": command,
        "seconds": seconds,
    }


_QUICK_SECONDS = 1.0
_FIRST_ROWS = 16


def raw_queries_per_second(classifier: Classifier, *, rows: int | None = None, repeats: int = 3) -> float:
    """Return the best of `repeats` measurements of `classifier.predict` on `rows` random inputs.

    Args:
        rows: by default two questions of an attack; a budget of bytes bounds them (`question_rows`).
    """
    rows = rows if rows is not None else 2 * question_rows(classifier.input_shape, classifier.device)
    x = _random(rows, classifier.input_spec).to(classifier.device)
    classifier.predict(x[: classifier.batch_size])
    return rows / min(_seconds(classifier.predict, x) for _ in range(repeats))


def quick_queries_per_second(
    predict: Callable[[Tensor], Tensor],
    *,
    input_spec: InputSpec,
    device: torch.device | str = "cpu",
    seconds: float = _QUICK_SECONDS,
) -> float:
    """Return the best rate of `predict` on random valid inputs: a question of 16 rows, then twice as many each time.

    Ends with what an attack sends at once (`question_rows`), or where the next question might not end within `seconds`:
    a slow model is asked twice, a single row first, so that its own set-up is over.

    Args:
        predict: float32 (M, *input_shape) -> one label a row.
        input_spec: what one input is.
        device: where the inputs are made.
    """
    most = question_rows(input_spec.shape, device)
    x = _random(most, input_spec).to(device)
    spent = _seconds(predict, x[:1])
    rows, best = min(_FIRST_ROWS, most), 0.0
    while True:
        last = _seconds(predict, x[:rows])
        spent, best = spent + last, max(best, rows / last)
        if rows == most or spent + 2.0 * last > seconds:
            return best
        rows = min(2 * rows, most)


def _random(rows: int, spec: InputSpec) -> Tensor:
    x = torch.rand((rows, *spec.shape), generator=torch.Generator().manual_seed(0))
    return spec.bounds.lower + spec.bounds.range * x


def _seconds(predict: Callable[[Tensor], Tensor], x: Tensor) -> float:
    started = time.perf_counter()
    predict(x).cpu()  # for an accelerator, which answers before it is done
    return max(time.perf_counter() - started, 1e-9)
