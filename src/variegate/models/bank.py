"""Many copies of one original for one forward pass of the original, and the heads in which they differ.

A head is a small module that turns the original's scores into the copy's: `head(x, scores, features)` with x float32
(N, *input_shape), scores float32 (N, n) the original's softmax scores, features the flattened outputs of the layers
that the head names; it returns the copy's scores, float32 (N, n), L1-normalised (paper, equations 2 and 3).

So the cost of labelling N inputs by m copies is N forward passes of the original and N x m heads, and rows of a batch
may belong to different copies.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, final

import torch
from torch import Tensor

from variegate.errors import InputError
from variegate.models.classifier import Classifier


class ScoreHead(Protocol):
    """The one thing that a bank of copies needs to know of a rewriter."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the original's layers whose outputs the head reads; mostly none."""
        ...

    def __call__(self, x: Tensor, scores: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Return the copy's scores (N, n)."""
        ...


_Block = tuple[Tensor, Tensor, dict[str, Tensor]]

_BLOCK_ROWS = 256
_BLOCK_VALUES = 2**20  # input values of a block: bounds the work memory of heads on large inputs


@final
class CopyBank:
    """Copies of one original, addressed by their position in `heads`."""

    def __init__(self, original: Classifier, heads: Sequence[ScoreHead]) -> None:
        if not heads:
            raise InputError("a bank needs at least one copy; got none")
        self.original = original
        self.heads = tuple(heads)
        self._layers = tuple(sorted({layer for head in self.heads for layer in head.layers}))

    def __len__(self) -> int:
        return len(self.heads)

    @torch.no_grad()
    def predict_all(self, x: Tensor) -> Tensor:
        """Return int64 (N, m): the label that each copy gives to each input. One forward of the original per input."""
        rows = [
            torch.stack([head(block, scores, features).argmax(1) for head in self.heads], 1)
            for block, scores, features in self._blocks(x)
        ]
        return torch.cat(rows)

    @torch.no_grad()
    def iterate_scores(self, x: Tensor) -> Iterator[Tensor]:
        """Yield float32 (rows, m, n), the copies' scores, per micro-batch: the whole would rarely fit in memory."""
        for part, scores, features in self.original.scores_and_features(x, self._layers):
            yield torch.stack([head(part, scores, features) for head in self.heads], 1)

    @torch.no_grad()
    def predict(self, x: Tensor, copies: Tensor) -> Tensor:
        """Return int64 (N,): row i labelled by copy `copies[i]`, in one forward of the original for the mixture.

        Raises:
            InputError: `copies` is not int64 (N,) with positions of this bank.
        """
        if copies.shape != (x.shape[0],) or copies.dtype != torch.int64:
            raise InputError(f"copies must be int64 of shape ({x.shape[0]},); got {copies.dtype} {tuple(copies.shape)}")
        if copies.numel() and not 0 <= int(copies.min()) <= int(copies.max()) < len(self):
            raise InputError(
                f"copies must be positions from 0 to {len(self) - 1}; got {int(copies.min())} to {int(copies.max())}"
            )
        labels = torch.empty(x.shape[0], dtype=torch.int64, device=self.original.device)
        start = 0
        for part, scores, features in self.original.scores_and_features(x, self._layers):
            owners = copies[start : start + part.shape[0]].to(part.device)
            block = labels[start : start + part.shape[0]]
            for position in owners.unique().tolist():
                mine = owners == position
                chosen = {name: value[mine] for name, value in features.items()}
                block[mine] = self.heads[position](part[mine], scores[mine], chosen).argmax(1)
            start += part.shape[0]
        return labels

    def _blocks(self, x: Tensor) -> Iterator[_Block]:
        """Yield (x, scores, features) of several micro-batches at once.

        Networks run best on few rows, because activations must stay in the cache; heads run best on many, because each
        reads a matrix of its own. With 100 dense heads a block of 256 rows takes a fifth less time than four of 64.
        """
        enough = min(_BLOCK_ROWS, _BLOCK_VALUES // math.prod(self.original.input_shape))
        blocks: Iterable[Tensor] = (x,)
        if x.shape[0] > enough:
            device = self.original.device
            parts = x.split(max(enough, self.original.batch_size))
            blocks = (part.to(device, torch.float32) for part in parts)  # the device need not hold them all
        for block in blocks:
            yield _join(list(self.original.scores_and_features(block, self._layers)))


def _join(parts: Sequence[_Block]) -> _Block:
    if len(parts) == 1:
        return parts[0]
    rows, scores, features = zip(*parts, strict=True)
    return torch.cat(rows), torch.cat(scores), {name: torch.cat([f[name] for f in features]) for name in features[0]}
