"""Collusion: several buyers put their copies together, and attack what they make of them (paper, section 5.6).

- `Ensemble`: the mean of the colluders' scores, which the paper attacks with DeepFool (white box);
- `MajorityVote`: the label that most of the colluders' copies give, for attacks that see labels alone;
- `collude`: the attack, on the inputs where there is something to attack.

Copies of one original share its forward pass: an ensemble of r of them costs one pass of the original and r heads.

Which inputs are attacked is not said in the paper. Here: A, those that the ensemble and every colluder's copy label
correctly when clean; an adversarial of an input outside A would be none. Where an attack finds nothing, its output is
the clean input (ART returns the last point that it reached).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from variegate.attacks.base import Attack, AttackResult
from variegate.attacks.driver import run_attack
from variegate.attacks.white_box.base import WhiteBoxAttack
from variegate.errors import ConfigurationError, InputError, OracleError
from variegate.models.bank import CopyBank, ScoreHead
from variegate.models.classifier import Classifier
from variegate.oracles.hard_label import HardLabelOracle
from variegate.rewriters.base import RewrittenCopy
from variegate.types import TakesInputs

Member = Classifier | RewrittenCopy
"""An original as it was trained, or a copy."""


@final
class _AsTrained:
    """The head of a classifier that was not rewritten: it leaves the scores as they are."""

    layers: tuple[str, ...] = ()

    def __call__(self, x: Tensor, scores: Tensor, features: object) -> Tensor:
        return scores


@final
class Panel:
    """Classifiers that are asked together, in one forward pass of each original that they share.

    Args:
        members: in the order of the answers; all take the same inputs and have the same classes.

    Raises:
        ConfigurationError: there is none, or one does not fit the first.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        if not members:
            raise ConfigurationError("expected at least one classifier to be asked; got none")
        self.members = tuple(members)
        expected = (members[0].input_shape, members[0].bounds, members[0].num_classes)
        for number, member in enumerate(members):
            got = (member.input_shape, member.bounds, member.num_classes)
            if got != expected:
                raise ConfigurationError(
                    f"classifiers that are asked together must take the same inputs and classes; number {number} has "
                    f"{got}, number 0 has {expected}"
                )
        places: dict[int, list[int]] = {}
        for number, member in enumerate(members):
            places.setdefault(id(_original(member)), []).append(number)
        self._groups = tuple(
            (torch.tensor(group), CopyBank(_original(members[group[0]]), [_head(members[i]) for i in group]))
            for group in places.values()
        )

    def __len__(self) -> int:
        return len(self.members)

    @torch.no_grad()
    def predict_all(self, x: Tensor) -> Tensor:
        """Return int64 (N, r): the label that each member gives to each input."""
        labels = torch.empty((x.shape[0], len(self)), dtype=torch.int64, device=self.members[0].device)
        for places, bank in self._groups:
            labels[:, places.to(labels.device)] = bank.predict_all(x)
        return labels

    @torch.no_grad()
    def mean_scores(self, x: Tensor) -> Tensor:
        """Return float32 (N, n): the mean of the members' scores."""
        sums = [torch.cat([part.sum(1) for part in bank.iterate_scores(x)]) for _, bank in self._groups]
        return torch.stack(sums).sum(0) / len(self)

    def differentiable_mean(self, x: Tensor) -> Tensor:
        """Return float32 (N, n): the same with gradients with respect to `x`; one pass, not cut up.

        Raises:
            InputError: a head reads the original's features, which this path does not carry.
        """
        total: Tensor | None = None
        for _, bank in self._groups:
            if layers := sorted({layer for head in bank.heads for layer in head.layers}):
                raise InputError(f"gradients through a head that reads layers {', '.join(layers)} are not available")
            scores = bank.original.differentiable_scores(x)
            for head in bank.heads:
                part = head(x, scores, {})
                total = part if total is None else total + part
        if total is None:
            raise InputError("a panel has at least one member")
        return total / len(self)


class _Joint(TakesInputs):
    """What an ensemble and a vote have in common: they look like one classifier."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.panel = Panel(members)
        first = self.panel.members[0]
        self.num_classes: int = first.num_classes
        self.input_spec = first.input_spec

    @property
    def device(self) -> torch.device:
        """Where the members run."""
        return self.panel.members[0].device


@final
class Ensemble(_Joint):
    """The colluders' mean: what the paper mounts DeepFool on. Has what a white-box attack needs (`Differentiable`).

    Args:
        members: the colluders' copies, at least one; see `Panel`.
    """

    def scores(self, x: Tensor) -> Tensor:
        """Return float32 (N, n): the mean of the members' scores."""
        return self.panel.mean_scores(x)

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (N,): the class of the largest mean score."""
        return self.scores(x).argmax(1)

    def differentiable_scores(self, x: Tensor) -> Tensor:
        """Return float32 (N, n): the mean of the members' scores, with gradients with respect to `x`."""
        return self.panel.differentiable_mean(x)


@final
class MajorityVote(_Joint):
    """The label that most members give; of labels with equally many votes the smallest.

    So two members that disagree vote for the smaller of their labels, whatever it is: use an odd number of them where
    that matters. A vote has no gradients.

    Args:
        members: the colluders' copies, at least one; see `Panel`.
    """

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (N,)."""
        labels = self.panel.predict_all(x)
        votes = torch.zeros((x.shape[0], self.num_classes), dtype=torch.int64, device=labels.device)
        votes.scatter_add_(1, labels, torch.ones_like(labels))
        smallest_first = torch.arange(self.num_classes - 1, -1, -1, device=labels.device)
        return (votes * self.num_classes + smallest_first).argmax(1)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Collusion:
    """What colluders found; every tensor has one row an input.

    Attributes:
        adversarials: float32 (N, *input_shape); the clean input where nothing was found or attacked.
        attempted: bool (N,), A: the inputs that were attacked.
        succeeded: bool (N,), those with an output that the ensemble (or the vote) misclassified in the attack.
        distances: float32 (N,), norms of the perturbations; NaN where `succeeded` is false.
        forward_rows, backward_rows: int64 (N,): how often an input was labelled or scored by the ensemble, and how
            often differentiated; one row is one pass of each original that the colluders' copies have.
        seconds: of the attack.
    """

    adversarials: Tensor
    attempted: Tensor
    succeeded: Tensor
    distances: Tensor
    forward_rows: Tensor
    backward_rows: Tensor
    seconds: float


def collude(
    target: Ensemble | MajorityVote,
    attack: Attack | WhiteBoxAttack,
    inputs: Tensor,
    labels: Tensor,
    *,
    seed: int,
    colluders: Panel | None = None,
    identities: Sequence[int] | None = None,
    queries: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Collusion:
    """Attack what the colluders made of their copies.

    Args:
        target: what is attacked.
        attack: a white-box attack for an `Ensemble`, or one that sees labels alone.
        inputs: float32 (N, *input_shape), within the bounds.
        labels: int64 (N,), the correct labels.
        seed: of the attack, with the identities.
        colluders: whose copies must be right on a clean input for it to be attacked, beside `target`; its own members
            by default. Attackers who have stripped the rewriter attack their originals and still have their copies.
        identities: an integer an input that names it in its random stream; by default its position.
        queries: budget for each input of an attack that sees labels alone; None for no limit.
        progress: called with (forward rows so far, how many at most or 0).

    Raises:
        ConfigurationError: a white-box attack on a vote.
        InputError: shapes, labels or bounds do not fit.
        OracleError: a member failed.
    """
    if isinstance(attack, WhiteBoxAttack) and isinstance(target, MajorityVote):
        raise ConfigurationError(
            f"a majority vote has no gradients for {attack.name}; choose an attack on labels alone"
        )
    if labels.shape != (inputs.shape[0],) or labels.dtype != torch.int64:
        raise InputError(
            f"labels must be int64 of shape ({inputs.shape[0]},); got {labels.dtype} {tuple(labels.shape)}"
        )
    panel = target.panel if colluders is None else colluders
    right = (panel.predict_all(inputs).cpu() == labels.cpu()[:, None]).all(1)
    attempted = right & (target.predict(inputs).cpu() == labels.cpu())
    rows = attempted.nonzero()[:, 0]
    names = list(identities) if identities is not None else list(range(inputs.shape[0]))
    if len(names) != inputs.shape[0]:
        raise InputError(f"identities must be {inputs.shape[0]} integers, one an input; got {len(names)}")
    count = inputs.shape[0]
    adversarials, succeeded = inputs.detach().clone().cpu(), torch.zeros(count, dtype=torch.bool)
    forward, backward = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)
    distances, seconds = torch.full((count,), float("nan")), 0.0
    if rows.numel():
        result = _attacked(
            target, attack, inputs[rows], labels[rows], seed, [names[i] for i in rows], queries, progress
        )
        if result.error is not None:
            raise OracleError(result.error)
        adversarials[rows], succeeded[rows] = result.adversarials, result.success
        distances[rows], forward[rows] = result.distances, result.queries
        if result.backward_rows is not None:
            backward[rows] = result.backward_rows
        seconds = result.seconds
    return Collusion(
        adversarials=adversarials,
        attempted=attempted,
        succeeded=succeeded,
        distances=distances,
        forward_rows=forward,
        backward_rows=backward,
        seconds=seconds,
    )


def _attacked(
    target: Ensemble | MajorityVote,
    attack: Attack | WhiteBoxAttack,
    inputs: Tensor,
    labels: Tensor,
    seed: int,
    identities: list[int],
    queries: int | None,
    progress: Callable[[int, int], None] | None,
) -> AttackResult:
    if isinstance(attack, WhiteBoxAttack):
        if isinstance(target, MajorityVote):
            raise ConfigurationError("a majority vote has no gradients")
        return attack.run(target, inputs, labels, seed=seed, identities=identities, progress=progress)
    oracle = HardLabelOracle(
        target.predict,
        input_spec=target.input_spec,
        num_classes=target.num_classes,
        samples=inputs.shape[0],
        budget=queries,
        device=target.device,
    )
    return run_attack(attack, oracle, inputs, labels, seed=seed, identities=identities, progress=progress)


def _original(member: Member) -> Classifier:
    return member.original if isinstance(member, RewrittenCopy) else member


def _head(member: Member) -> ScoreHead:
    return member.head if isinstance(member, RewrittenCopy) else _AsTrained()
