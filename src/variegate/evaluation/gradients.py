"""How alike the input gradients of two copies are (paper, section 5.3).

The loss J is cross-entropy, -log of the score that the true class gets: the softmax score for an original, the
L1-normalised score for a rewritten copy. Its gradient is taken with respect to the input.

Clean inputs sit where the softmax is flat: beside a score that rounds to 1, float32 loses the part of the gradient
that belongs to the true class, and with it the direction. So the softmax and its derivative are computed in float64
from float32 logits, with 1 minus a score as the sum of the others; what goes backward through the network is scaled to
1 and scaled back in float64. Directions are those of exact arithmetic up to the rounding of float32 passes through
network and head, however sure the network is. A gradient is 0 only where

- all other scores are below 1e-308 (float64), or the network does not depend on the input (dead units), or
- a copy's score of the true class is below 1.2e-38, which includes 0 and negative scores of spread spectrum: -log does
  not exist there, and the score counts as that constant, as in `variegate.attacks.white_box.toolbox`.

A cosine with a zero gradient does not exist; it is NaN here, and those who count leave it out and say how many.

Small gradients of exact direction are still the gradients of a flat function: what a rewriter adds needs little slope
to turn them. Two remedies beside the paper's measurement: points on the decision boundary (`boundary_points`), where an
original is undecided, and smoothed gradients, of the mean loss over Gaussian noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from variegate.attacks.base import SeededNoise
from variegate.attacks.overshoot import overshoot
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.errors import InputError, ModelError
from variegate.models.classifier import Classifier, full_precision, gradient_rows
from variegate.models.geometry import as_rows
from variegate.rewriters.base import AbstractHead

Group = tuple[Classifier, Sequence[AbstractHead]]
"""An original with heads of copies of it: its members are the original itself, then the copies in order."""

SATURATED = 2.0**-25
"""A float32 softmax gives the true class exactly 1 where the scores of all others sum to no more than this."""

_BYTES = 2**27  # of float64 gradients held at once


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothing:
    """Gradients of the mean loss over Gaussian noise.

    A noisy input whose gradient is 0 (see the module) counts in the mean as 0.

    Attributes:
        sigma: standard deviation of the noise, in parts of the input range.
        samples: noisy inputs for one gradient.
        seed: decides the noise together with the input's identity; all levels share its directions.

    Raises:
        InputError: a level that is not positive, or no sample.
    """

    sigma: float
    samples: int
    seed: int

    def __post_init__(self) -> None:
        if not 0.0 < self.sigma < math.inf or self.samples < 1:
            raise InputError(f"smoothing needs sigma > 0 and at least 1 sample; got {self.sigma} and {self.samples}")


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Cosines and norms of M members and P pairs of them at N inputs.

    Attributes:
        cosines: float64 (P, N), NaN where one of the two gradients is 0 or not finite.
        norms: float64 (M, N), L2, in units of the loss per unit of the input.
        doubts: float64 (G, N), 1 minus the true class's softmax score for each group's original; their mean over the
            noise if smoothed.
    """

    cosines: Tensor
    norms: Tensor
    doubts: Tensor


def loss_gradients(
    original: Classifier, heads: Sequence[AbstractHead], x: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the loss of an original and of copies of it; see the module for what is exact.

    Args:
        original: the network.
        heads: of h copies.
        x: float32 (N, *input_shape); one pass, not cut up.
        labels: int64 (N,), the true classes.

    Returns:
        float64 (1 + h, N, d): the original's first; float64 (N,): 1 minus the original's score of the true class.

    Raises:
        InputError: a head reads features of the original, which this path does not carry.
        ModelError: the module's answer carries no gradient.

    Cost: one forward pass of the original and 1 + h backward passes.
    """
    device = original.device
    labels = labels.to(device)[:, None]
    with torch.enable_grad(), full_precision(device):
        leaf = x.detach().to(device, torch.float32).clone().requires_grad_()
        logits = original.differentiable_logits(leaf)
        if not logits.requires_grad:
            raise ModelError("gradients need a module that torch can differentiate; this one's answer carries none")
        scores = logits.detach().to(torch.float64).softmax(1)
        others = scores.scatter(1, labels, 0.0)
        doubt = others.sum(1)
        found = torch.empty((1 + len(heads), x.shape[0], leaf[0].numel()), dtype=torch.float64, device=device)
        for place, head in enumerate((None, *heads)):
            direct: Tensor | float = 0.0
            if head is None:
                slopes = others.scatter(1, labels, -doubt[:, None])
            else:
                slopes, direct = _slopes(head, leaf, scores, labels)
            size = slopes.abs().amax(1, keepdim=True)
            unit = torch.where(size > 0, slopes / size, torch.zeros_like(slopes)).to(torch.float32)
            pulled = torch.autograd.grad(logits, leaf, unit, retain_graph=place < len(heads))[0]
            found[place] = size * pulled.flatten(1) + direct
    return found, doubt


def compare_gradients(
    groups: Sequence[Group],
    pairs: Sequence[tuple[int, int]],
    x: Tensor,
    labels: Tensor,
    *,
    smoothing: Smoothing | None = None,
    identities: Sequence[int] | None = None,
) -> Comparison:
    """Return cosines between members' gradients, in micro-batches; one array of gradients takes 128 MiB at most.

    Args:
        groups: originals with heads of their copies.
        pairs: positions among all groups' members, in order.
        x: float32 (N, *input_shape).
        labels: int64 (N,), the true classes.
        smoothing: of the gradients; None for those at `x` itself. All members see the same noise. Noisy inputs may
            leave the bounds: clipping would shift their mean.
        identities: an integer an input that names it in the noise; by default its position.

    Raises:
        InputError, ModelError: as `loss_gradients`.

    Cost: `gradient_cost` for each input, times the samples of the smoothing.
    """
    members = sum(1 + len(heads) for _, heads in groups)
    names = list(range(len(x))) if identities is None else list(identities)
    first = groups[0][0]
    fitting = _BYTES // (8 * members * math.prod(x.shape[1:]))
    rows = max(1, min(gradient_rows(first.batch_size, first.device), fitting))
    result = Comparison(
        cosines=torch.full((len(pairs), len(x)), math.nan, dtype=torch.float64),
        norms=torch.zeros((members, len(x)), dtype=torch.float64),
        doubts=torch.zeros((len(groups), len(x)), dtype=torch.float64),
    )
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        gradients, doubts = _members(groups, x[part], labels[part], smoothing, names[part])
        units, norms = _units(gradients)
        for place, (a, b) in enumerate(pairs):
            cosine = (units[a] * units[b]).sum(1).clamp(-1.0, 1.0)
            exists = (norms[a] > 0) & (norms[b] > 0) & norms[a].isfinite() & norms[b].isfinite()
            result.cosines[place, part] = torch.where(exists, cosine, torch.full_like(cosine, math.nan)).cpu()
        result.norms[:, part] = norms.cpu()
        result.doubts[:, part] = doubts.cpu()
    return result


def gradient_cost(groups: int, members: int, *, samples: int = 1) -> float:
    """Return forward rows for one input, a backward row counted as two, as `compare_gradients` needs them."""
    return float(samples * (groups + 2 * members))


def boundary_points(original: Classifier, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Move inputs to a decision boundary of `original` that lies near.

    DeepFool on log scores (Moosavi-Dezfooli et al., 2016) finds a wrong label near by; then the perturbation is
    bisected 24 times (`variegate.attacks.overshoot`), so that the label changes within float32's rounding of the point.

    Args:
        original: whose boundary.
        x: float32 (N, *input_shape), within the bounds.
        labels: int64 (N,), the true classes.

    Returns:
        float32 (N, *input_shape), and bool (N,): where a boundary was found; inputs that the original gets wrong when
        clean are not moved and count as not found.

    Cost: 25 forward rows an input, and DeepFool's.
    """
    result = DeepFool().run(original, x, labels, seed=0)
    change = result.adversarials - x
    depth = overshoot(original.predict, x, result.adversarials, labels)
    found = result.success & depth.isfinite()
    share = torch.where(found, 1.0 - depth, torch.zeros_like(depth))
    return x + as_rows(share, x) * change, found


def _slopes(head: AbstractHead, x: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss's slopes with respect to the logits, float64 (N, n), and past the network, float64 (N, d)."""
    if head.layers:
        raise InputError(f"gradients through a head that reads layers {', '.join(head.layers)} are not available")
    least = torch.finfo(torch.float32).tiny  # a score that becomes 0 would have no part in the L1 norm's derivative
    given, point = scores.to(torch.float32).clamp_min(least).requires_grad_(), x.detach().clone().requires_grad_()
    own = head(point, given, {}).gather(1, labels)
    loss = -own.clamp_min(least).log().sum()
    by_score, by_input = torch.autograd.grad(loss, (given, point), allow_unused=True, materialize_grads=True)
    # Softmax's derivative, s_i (g_i - sum_k s_k g_k), relative to the class of largest score: nothing cancels there.
    relative = by_score.to(torch.float64)
    relative = relative - relative.gather(1, scores.argmax(1, keepdim=True))
    return scores * (relative - (scores * relative).sum(1, keepdim=True)), by_input.flatten(1).to(torch.float64)


def _members(
    groups: Sequence[Group], x: Tensor, labels: Tensor, smoothing: Smoothing | None, names: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return all members' gradients, float64 (M, N, d), and the originals' doubts, float64 (G, N)."""
    if smoothing is None:
        found = [loss_gradients(original, heads, x, labels) for original, heads in groups]
        return torch.cat([g.to(found[0][0].device) for g, _ in found]), torch.stack([d.cpu() for _, d in found])
    noise, width = SeededNoise(smoothing.seed, names), groups[0][0].bounds.range
    gradients, doubts = torch.zeros(()), torch.zeros(())
    for sample in range(smoothing.samples):
        draws = [noise.probes(row, 0, sample, (1, x[0].numel()), gaussian=True) for row in range(len(x))]
        noisy = x + (smoothing.sigma * width) * torch.cat(draws).view_as(x).to(x.device)
        more, doubt = _members(groups, noisy, labels, None, names)
        gradients, doubts = (more, doubt) if sample == 0 else (gradients.add_(more), doubts.add_(doubt))
    return gradients.div_(smoothing.samples), doubts.div_(smoothing.samples)


def _units(gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit vectors, zero where the gradient is, and norms; squares of tiny gradients would be 0."""
    largest = gradients.abs().amax(2, keepdim=True)
    scaled = torch.where(largest > 0, gradients / largest, torch.zeros_like(gradients))
    length = scaled.norm(dim=2, keepdim=True)
    return torch.where(length > 0, scaled / length, scaled), (largest * length)[:, :, 0]
