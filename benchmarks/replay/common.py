"""Recording what an attack library asks, and comparing two attacks query by query.

Both sides differ by rounding: ART computes in float64 where variegate computes in float32. Where a query falls onto the
boundary to within rounding, the model itself answers by chance, and the two attacks part: a tie.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from variegate.adapters.closest import BudgetSpentError
from variegate.attacks.base import Attack, NoiseSource
from variegate.attacks.driver import run_attack
from variegate.models.classifier import Classifier
from variegate.models.geometry import distance
from variegate.oracles.hard_label import HardLabelOracle
from variegate.types import Norm

_ROUNDING = 1e-5  # of the range, between a point of ART's and ours
_TIE = 5e-6  # between the two best logits


@final
class RecordingModule(nn.Module):
    """Casts to float32 (ART on NumPy 2 sends float64), asks the classifier, and keeps what was asked and answered.

    Args:
        classifier: is asked.
        limit: queries after which the attack ends, if it has not ended itself.
    """

    def __init__(self, classifier: Classifier, limit: int | None = None) -> None:
        super().__init__()
        self._classifier = [classifier]  # in a list, so that its module is not a child of this one
        self._left = limit
        self.points: list[Tensor] = []
        self.labels: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, *input_shape) to logits (M, n).

        Raises:
            BudgetSpentError: after recording the rows that were left.
        """
        asked = len(x)
        x = x[: self._left].float()
        logits = self._classifier[0].logits(x)
        self.points.append(x.detach().clone())
        self.labels.append(logits.argmax(1))
        if self._left is not None:
            self._left -= len(x)
            if asked > len(x):
                raise BudgetSpentError
        return logits

    def oracle(self) -> HardLabelOracle:
        """Return an oracle for one input, without a budget, whose every label is recorded."""
        classifier = self._classifier[0]
        return HardLabelOracle(
            lambda x: self(x).argmax(1),
            input_spec=classifier.input_spec,
            num_classes=classifier.num_classes,
            samples=1,
        )

    def replay(self, attack: Callable[[], Tensor], *, leave_out: int = 0) -> "Replay":
        """Run the attack and return its adversarial and what was recorded.

        The last `leave_out` queries, which are no part of the attack, are left out where it came to its own end.
        """
        logging.disable(logging.WARNING)  # the driver's, of an attack that the limit ends
        try:
            adversarial = attack()
        except BudgetSpentError:
            adversarial = None
        finally:
            logging.disable(logging.NOTSET)
        if self._left == 0:
            adversarial, leave_out = None, 0
        labels, points = torch.cat(self.labels), torch.cat(self.points)
        end = len(labels) - leave_out
        return Replay(adversarial=adversarial, labels=labels[:end], points=points[:end])


def replay_attack(
    attack: Attack,
    classifier: Classifier,
    image: Tensor,
    *,
    noise: NoiseSource,
    target: int | None = None,
    start: Tensor | None = None,
    limit: int | None = None,
) -> "Replay":
    """Run one of variegate's attacks on one image with the draws of `noise`.

    Args:
        attack: with its settings.
        classifier: what is attacked.
        image: float32 (1, *input_shape).
        noise: what the attack draws.
        target: the label wanted; None for any wrong one.
        start: float32 (1, *input_shape), a starting point that is adversarial already; None to draw one.
        limit: queries after which the attack is ended.
    """
    module = RecordingModule(classifier, limit)

    def run() -> Tensor:
        result = run_attack(
            attack,
            module.oracle(),
            image,
            classifier.predict(image),
            seed=0,
            targets=None if target is None else torch.tensor([target]),
            starting_points=start,
            noise=noise,
        )
        return result.adversarials[0]

    return module.replay(run)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replay:
    """What one side did.

    Attributes:
        adversarial: float32 (*input_shape), what the attack returned; None where the limit of queries ended it.
        labels: int64 (Q,), the answer to each query, in order; the first is the clean input's.
        points: float32 (Q, *input_shape), the queries.
    """

    adversarial: Tensor | None
    labels: Tensor
    points: Tensor

    def decisions(self, target: int | None = None) -> Tensor:
        """Return bool (Q - 1,): whether each query after the first was adversarial."""
        return self.labels[1:] != self.labels[0] if target is None else self.labels[1:] == target

    def closest_within(self, queries: Sequence[int], norm: Norm) -> list[float | None]:
        """Return the smallest norm of an adversarial row (untargeted) within each number of queries."""
        adversarial = self.labels != self.labels[0]
        sizes = distance(self.points[:1].expand_as(self.points), self.points, norm)
        sizes = torch.where(adversarial, sizes, torch.inf)
        found = [float(sizes[:count].min()) for count in queries]
        return [None if size == float("inf") else size for size in found]


@contextmanager
def seeded_numpy(start_seed: int, probe_seed: int) -> Iterator[None]:
    """Seed the generators that ART uses, and put NumPy's global one back after."""
    starts = np.random.RandomState(start_seed)
    before = np.random.get_state()  # noqa: NPY002 - ART draws from the legacy generators
    np.random.seed(probe_seed)  # noqa: NPY002
    try:
        with mock.patch.object(np.random, "RandomState", return_value=starts):
            yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def until_a_tie(classifier: Classifier, art: Replay, ours: Replay, target: int | None = None) -> bool:
    """Demand the same decisions at the same points up to a tie; return whether there was none.

    Raises:
        AssertionError: the two sides asked or decided otherwise, and no tie explains it.
    """
    ours_decided, art_decided = ours.decisions(target), art.decisions(target)
    count = min(len(ours_decided), len(art_decided))
    different = (art_decided[:count] != ours_decided[:count]).nonzero().flatten()
    first = int(different[0]) + 1 if len(different) else None
    until = len(art.labels) if first is None else first + 1
    if first is None and len(art.labels) != len(ours.labels):
        raise AssertionError(f"ART asked {len(art.labels)} queries and variegate {len(ours.labels)}")
    apart = float((art.points[:until] - ours.points[:until]).abs().max())
    if apart >= _ROUNDING:
        raise AssertionError(f"queries up to {until} are up to {apart:g} apart")
    if first is None and art.adversarial is not None and ours.adversarial is not None:
        apart = float((art.adversarial - ours.adversarial).abs().max())
        if apart >= _ROUNDING:
            raise AssertionError(f"the adversarials are {apart:g} apart")
    if first is None:
        return True
    best = classifier.logits(art.points[first : first + 1]).topk(2).values[0]
    if float(best[0] - best[1]) >= _TIE:
        raise AssertionError(f"query {first} was decided otherwise, and it is no tie: {best.tolist()}")
    return False
