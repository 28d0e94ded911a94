"""The floor of every attack: how many inputs a second the model labels when it does nothing else."""

import time

import torch

from variegate.models.classifier import Classifier
from variegate.models.forward_pass import question_rows

__all__ = ["raw_queries_per_second"]


def raw_queries_per_second(classifier: Classifier, *, rows: int | None = None, repeats: int = 3) -> float:
    """Return the best of `repeats` measurements of `classifier.predict` on `rows` random inputs.

    Args:
        rows: by default two questions of an attack; a budget of bytes bounds them (`question_rows`).
    """
    rows = rows if rows is not None else 2 * question_rows(classifier.input_shape, classifier.device)
    generator = torch.Generator().manual_seed(0)
    bounds = classifier.bounds
    x = bounds.lower + bounds.range * torch.rand((rows, *classifier.input_shape), generator=generator)
    x = x.to(classifier.device)
    classifier.predict(x[: classifier.batch_size])
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        classifier.predict(x).cpu()
        best = min(best, time.perf_counter() - started)
    return rows / best
