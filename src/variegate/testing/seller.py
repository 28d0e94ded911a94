"""A seller in memory, for experiments and tests: no home, no registry, no file. And small classifiers to sell."""

import hashlib
import math
from collections.abc import Sequence
from typing import final

import torch
from torch import nn

from variegate.keys import CopyKey, KeyContext, SellerSecret
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier
from variegate.rewriters.base import AbstractSpec, RewrittenCopy, original_shape, rewrite
from variegate.types import Bounds, check_identifier


@final
class InMemorySeller:
    """Issues copies of one original by the derivation that a real seller uses.

    Args:
        original: what is sold.
        secret: the seller's secret; a fresh one by default. For an experiment that can be repeated, derive it from a
            seed with `SellerSecret.from_bytes`, and never sell such copies.
    """

    def __init__(self, original: Classifier, *, secret: SellerSecret | None = None) -> None:
        self.original = original
        self._secret = secret if secret is not None else SellerSecret.generate()

    def key(self, spec: AbstractSpec, buyer: str, *, epoch: int = 1) -> CopyKey:
        """Return the key of one buyer's copy.

        Raises:
            ConfigurationError: the buyer's name cannot be an identifier.
        """
        return self._secret.derive(
            KeyContext(
                model_digest=self.original.digest,
                rewriter=spec.rewriter,
                spec_digest=spec.digest,
                buyer=check_identifier(buyer, "a buyer's name"),
                epoch=epoch,
            )
        )

    def issue(self, spec: AbstractSpec, buyer: str, *, epoch: int = 1) -> RewrittenCopy:
        """Return the buyer's copy; the same arguments give the same copy."""
        return rewrite(self.original, self.key(spec, buyer, epoch=epoch), spec)

    def bank(self, spec: AbstractSpec, buyers: Sequence[str]) -> CopyBank:
        """Return the copies of several buyers, to be asked together."""
        shape = original_shape(self.original)
        heads = [spec.build(self.key(spec, buyer), shape).to(self.original.device) for buyer in buyers]
        return CopyBank(self.original, heads)


def known_key(number: int = 0) -> CopyKey:
    """Return a key that is no secret: the same for the same number, everywhere."""
    return CopyKey.from_bytes(hashlib.sha256(f"variegate test key {number}".encode()).digest())


def small_classifier(
    *, input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 10, bounds: Bounds | None = None, seed: int = 0
) -> Classifier:
    """Return an untrained network of two layers whose scores and labels vary over random inputs.

    Args:
        input_shape: shape of one input, any rank.
        num_classes: n.
        bounds: the interval of valid input values.
        seed: decides the weights.
    """
    bounds = bounds if bounds is not None else Bounds()
    size, hidden = math.prod(input_shape), 32
    generator = torch.Generator().manual_seed(seed)
    first, second = nn.Linear(size, hidden), nn.Linear(hidden, num_classes)
    scale = 8.0 / (bounds.range * math.sqrt(size))
    with torch.no_grad():
        first.weight.copy_(scale * torch.randn((hidden, size), generator=generator))
        first.bias.copy_(-0.5 * (bounds.lower + bounds.upper) * first.weight.sum(1))
        second.weight.copy_(torch.randn((num_classes, hidden), generator=generator))
        second.bias.zero_()
    module = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second)
    return Classifier(module, input_shape=input_shape, labels=num_classes, bounds=bounds)
