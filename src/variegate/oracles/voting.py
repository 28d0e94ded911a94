"""The majority of several jittered answers: an oracle without what a copy's key adds at random.

Science: a keyed head whose phase changes with a shift of one pixel, or with noise, gives another answer to each
jittered question, while the original gives the same; so the majority is the original's answer. Voting also makes a
noisy oracle usable for bisection (Simon-Gabriel et al., *PopSkipJump*, 2021, treat the same attacker; they choose the
next question by its information, here every answer takes the same number of questions).
"""

import hashlib
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from variegate.errors import BudgetError, ConfigurationError, InputError
from variegate.models.classifier import check_inputs
from variegate.oracles.hard_label import Oracle
from variegate.oracles.jitter import Jitter
from variegate.types import TakesInputs, require_at_least


@final
class MajorityVote(TakesInputs):
    """Answers with the label that most of `votes` jittered versions of the question get.

    Of labels with equally many votes, the one that was voted for first wins; so no class is preferred.

    Every vote is one query of the oracle inside, on its meter and in its budget; `remaining` counts whole answers. What
    a budget leaves below `votes` queries is not spent. The point itself is never asked: an adversarial that an attack
    returns was *voted* adversarial, and the copy's answer to exactly that point may be another.

    The jitter of an answer is decided by the seed, the input's identity and the queries spent on that input before it.
    So answers do not depend on the batch, and go on as they would have after a resume, which restores the meter.
    A checkpoint of another `description` is refused.

    Attributes:
        bounds, budget, device, input_shape, input_spec, meter, num_classes: those of the oracle inside.
        preferred_rows: as many answers as fill one question of the oracle inside, at least 1.
        queries_per_answer: of the model, for one answer.
        description: jitter, votes and seed as text.

    Args:
        oracle: who is asked.
        jitter: how questions differ.
        votes: questions for one answer, at least 1.
        seed: decides all jitter, together with the identities.
        identities: an integer an input that names it in its random stream; by default its position. Those given to
            `run_attack` make the run independent of the batch.

    Raises:
        ConfigurationError: no vote; a budget that does not pay for one answer; a number of identities that is not that
            of the inputs; or inputs that cannot be jittered so.
    """

    def __init__(
        self, oracle: Oracle, jitter: Jitter, *, votes: int, seed: int, identities: Sequence[int] | None = None
    ) -> None:
        require_at_least("votes", votes, 1)
        jitter.check(oracle.input_shape)
        self.queries_per_answer: int = votes * int(getattr(oracle, "queries_per_answer", 1))
        if oracle.budget is not None and oracle.budget < self.queries_per_answer:
            raise ConfigurationError(
                f"an answer takes {self.queries_per_answer} queries, and the budget is {oracle.budget} per input; "
                "raise it or take fewer votes"
            )
        samples = oracle.meter.per_sample.shape[0]
        self._identities = tuple(int(identity) for identity in (range(samples) if identities is None else identities))
        if len(self._identities) != samples:
            raise ConfigurationError(
                f"identities must be {samples} integers, one an input of the oracle; got {len(self._identities)}"
            )
        self._oracle, self._jitter, self._votes, self._seed = oracle, jitter, votes, int(seed)
        self._generator = torch.Generator(device=oracle.device)
        self.input_spec, self.budget, self.device = oracle.input_spec, oracle.budget, oracle.device
        self.num_classes, self.meter = oracle.num_classes, oracle.meter
        self.preferred_rows = max(1, oracle.preferred_rows // votes)
        inside = getattr(oracle, "description", "")
        self.description = f"majority of {votes} votes, {jitter}, seed {self._seed}{inside and f', {inside}'}"

    def remaining(self) -> Tensor:
        """Return int64 (samples,): whole answers that each input can still have."""
        return self._oracle.remaining() // self._votes

    @torch.no_grad()
    def label(self, x: Tensor, samples: Tensor) -> Tensor:
        """Return int64 (M,): the majority label of each row's jittered versions.

        Args:
            x: float32 (M, *input_shape), finite and within the bounds.
            samples: int64 (M,) on the CPU: for which input under attack each row is asked.

        Raises:
            BudgetError: some input has fewer answers left than rows here; nothing is labelled.
            InputError: shapes or positions do not fit, or a value is not finite or outside the bounds.
            OracleError: the model failed; the votes until then are counted.
        """
        x = check_inputs(x, self.input_spec, what="the inputs that an oracle labels")
        answers = torch.empty(x.shape[0], dtype=torch.int64, device=x.device)
        if x.shape[0] == 0:
            return answers
        rank = self._rank(x.shape[0], samples)
        counters = (self.meter.per_sample[samples] + self.queries_per_answer * rank).tolist()
        names = [self._identities[sample] for sample in samples.tolist()]
        for first in range(0, x.shape[0], self.preferred_rows):
            part = slice(first, first + self.preferred_rows)
            drawn = torch.cat([self._draw(name, at) for name, at in zip(names[part], counters[part], strict=True)])
            owners = samples[part].repeat_interleave(self._votes)
            asked = self._jitter.apply(
                x[part].repeat_interleave(self._votes, 0), drawn.to(x.device), self.bounds
            )  # (rows * votes, *input_shape); more than the oracle prefers only where one answer takes more
            cuts = zip(asked.split(self._oracle.preferred_rows), owners.split(self._oracle.preferred_rows), strict=True)
            labels = torch.cat([self._oracle.label(question, owner) for question, owner in cuts])
            answers[part] = _majority(labels.view(-1, self._votes)).to(x.device)
        return answers

    def _rank(self, count: int, samples: Tensor) -> Tensor:
        """Return int64 (M,): how many rows before each are asked for the same input; check the budget of all."""
        total = self.meter.per_sample.shape[0]
        if samples.shape != (count,) or samples.dtype != torch.int64:
            raise InputError(
                f"sample positions must be int64 of shape ({count},); got {samples.dtype} {tuple(samples.shape)}"
            )
        if int(samples.min()) < 0 or int(samples.max()) >= total:
            raise InputError(
                f"sample positions must be from 0 to {total - 1}; got {int(samples.min())} to {int(samples.max())}"
            )
        wanted, left = torch.bincount(samples, minlength=total), self.remaining()
        if bool((wanted > left).any()):
            worst = int((wanted - left).argmax())
            raise BudgetError(
                f"input {worst} can have {int(left[worst])} more answers of {self.queries_per_answer} queries; "
                f"{int(wanted[worst])} were asked for; nothing was labelled"
            )
        order = samples.argsort(stable=True)
        rank = torch.empty_like(samples)
        rank[order] = torch.arange(count) - (wanted.cumsum(0) - wanted)[samples[order]]
        return rank

    def _draw(self, identity: int, counter: int) -> Tensor:
        """Return float32 (votes, k): the jitter of the answer that starts at this query of the input."""
        text = f"jitter/{self._seed}/{identity}/{counter}".encode()
        self._generator.manual_seed(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1)
        return self._jitter.draw(self._votes, self.input_shape, self._generator)


def _majority(labels: Tensor) -> Tensor:
    """Return int64 (M,): the most frequent of each row's labels (M, votes); of equals, the one that comes first."""
    votes = labels.shape[1]
    counts = torch.zeros_like(labels)  # how often each vote's label occurs in its row
    for vote in range(votes):
        counts += labels == labels[:, vote : vote + 1]
    place = torch.arange(votes, device=labels.device)
    best = (counts * votes - place).argmax(1, keepdim=True)  # no two are equal
    return labels.gather(1, best)[:, 0]
