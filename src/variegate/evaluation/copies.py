"""Copies of an experiment: made by the same derivation as a seller's, from a secret that a public seed decides.

Such copies are for measuring only. A real copy's key comes from a seller's secret (`variegate.authority`).
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

from variegate.keys import CopyKey, KeyContext, SellerSecret
from variegate.models.classifier import Classifier
from variegate.rewriters.base import AbstractHead, AbstractSpec, original_shape

Purpose = Literal["audit", "calibration"]


def experiment_key(purpose: Purpose, seed: int, weights_digest: str, spec: AbstractSpec, copy: int) -> CopyKey:
    """Return the key of copy number `copy` in the experiment of this purpose and seed.

    A calibration chooses a spec by how its copies do, so an audit must not look at the same copies again.
    """
    secret = SellerSecret.from_bytes(hashlib.sha256(f"variegate {purpose} experiment {seed}".encode()).digest())
    return secret.derive(
        KeyContext(
            model_digest=weights_digest, rewriter=spec.rewriter, spec_digest=spec.digest, buyer=f"copy-{copy}", epoch=1
        )
    )


def experiment_heads(
    original: Classifier, spec: AbstractSpec, *, copies: int | Sequence[int], seed: int, purpose: Purpose = "audit"
) -> list[AbstractHead]:
    """Return the heads of the copies 0, 1, ... (or of the given numbers) of an experiment, on the original's device."""
    numbers = range(copies) if isinstance(copies, int) else copies
    shape = original_shape(original)
    return [
        spec.build(experiment_key(purpose, seed, original.digest, spec, i), shape).to(original.device) for i in numbers
    ]
