"""What an attack does to a classifier's output values, class by class in their roles (paper, section 5.4).

A permutation copy adds to the score of class j that of a partner. Which class that is depends on how equation 3 is
read. "any attempt to increase/decrease the prediction score of the j-th class in the copy will need to
increase/decrease the score for both j-th class and pi(j)-th class" (section 4.4) says: copy_j ~ M_j + alpha M_pi(j),
as `variegate.rewriters.permutation` has it. But pi(j) as "the new class after the permutation" of class j says: the
score of j is moved to pi(j) and added there. So there are two candidates for the binding partner of a victim class j:

- "added": the class whose score the copy adds to that of j. An attack that lowers the copy's score of j must lower this
  class in the original inside as well: the mechanism that the paper explains.
- "receiving": the class to whose score the copy adds that of j. Its score in the copy falls with that of j by
  arithmetic alone: by alpha times as much, if its own part does not move.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from variegate.attacks.white_box.toolbox import log_scores
from variegate.errors import ConfigurationError
from variegate.models.classifier import Classifier
from variegate.rewriters.base import AbstractHead, RewrittenCopy
from variegate.rewriters.permutation import PermutationHead

MEASURES = ("logits", "scores", "log_scores")
"""Output values: of the original inside, before softmax; of the classifier, after it; their logarithms."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Roles:
    """Changes of output values by the role of the class; NaN where there is no class of that role.

    Attributes:
        victim: float64 (N,), the true class.
        partner: float64 (N,), the true class's binding partner.
        others: float64 (N, n), all other classes, each in its place.
    """

    victim: Tensor
    partner: Tensor
    others: Tensor


def added_partners(head: AbstractHead) -> Tensor:
    """Return int64 (n,): for each class j the other class whose score the copy adds to that of j; -1 for none.

    There is none where the partner is a dummy class or j itself.

    Raises:
        ConfigurationError: the head is not a permutation's.
    """
    if not isinstance(head, PermutationHead):
        raise ConfigurationError(f"only a permutation binds classes to each other; got a {type(head).__name__}")
    partners = head.partners.cpu()
    own = torch.arange(len(partners))
    return torch.where((partners < len(partners)) & (partners != own), partners, torch.full_like(own, -1))


def receiving_partners(partners: Tensor) -> Tensor:
    """Return int64 (n,): for each class j the other class to whose score that of j is added; -1 for none.

    Args:
        partners: int64 (n,), as `added_partners` gives them.
    """
    receivers = torch.full_like(partners, -1)
    bound = (partners >= 0).nonzero().flatten()
    receivers[partners[bound]] = bound
    return receivers


def output_values(target: Classifier | RewrittenCopy, x: Tensor) -> dict[str, Tensor]:
    """Return what the classifier answers to `x`, float64 (N, n) on the CPU, for each of `MEASURES`.

    "logits" of a copy are those of the original inside: a copy has none of its own. "log_scores" are the logarithms of
    what the classifier gives out, a score below 1.2e-38 counted as that: for an original its logits less one number a
    row; for a copy what comes nearest to logits.
    """
    original = target.original if isinstance(target, RewrittenCopy) else target
    scores = target.scores(x)
    found = {"logits": original.logits(x), "scores": scores, "log_scores": log_scores(scores)}
    return {name: values.cpu().to(torch.float64) for name, values in found.items()}


def by_role(changes: Tensor, labels: Tensor, partners: Tensor | None = None) -> Roles:
    """Sort the classes of each input by their roles.

    Args:
        changes: float64 (N, n), of the output values.
        labels: int64 (N,), the victim classes.
        partners: int64 (n,), partner of each class or -1; None where nothing is bound.
    """
    rows = torch.arange(len(labels))
    partner = torch.full_like(labels, -1) if partners is None else partners[labels]
    bound = partner >= 0
    missing = torch.full_like(changes[:, 0], float("nan"))
    others = changes.clone()
    others[rows, labels] = float("nan")
    others[rows[bound], partner[bound]] = float("nan")
    return Roles(
        victim=changes[rows, labels],
        partner=torch.where(bound, changes[rows, partner.clamp_min(0)], missing),
        others=others,
    )
