"""What colluders' outputs do to other copies: the labels that are taken, and the rates that follow from them.

`attack_block` attacks some inputs and keeps labels; `measure` counts. Kept apart, they let an attack be done once, in
any process, and be counted for any coalition and victims. With A as in `variegate.evaluation.collusion`:

- all outputs (the paper's curves B): one for each input of A, the clean input where the attack found nothing;
- kept outputs (curves C): those that fool the ensemble and, asked once more, the copy of every colluder;
- replication rate: of these, shown to each victim, the share that the victim misclassifies; *conditioned*: over
  (victim, input) pairs where the victim is right on the clean input, which the paper does not ask for;
- validated outputs (not in the paper): x + s (x' - x) for the smallest s of `SCALES` at which every colluder's copy is
  fooled, shown to the victims at that s: colluders need not stop where DeepFool does, and the mean of their copies can
  be fooled where none of them is;
- noise: the same for random perturbations of equal norm (after clipping) in place of the outputs;
- the control (`control`): one colluder's outputs shown to his own copy as if it were a victim's. The labels by which an
  output is kept cannot miss, so the copy is asked again, in another order and in other batches, and once more with
  the outputs rounded to 8 bits, as an image file holds them.

The victims stay the same for all numbers of colluders where there are copies enough (`line_up`), and blocks of inputs
have different coalitions; an interval draws images and copies (`variegate.evaluation.stats`), a coalition as the copy
of its first member. The paper shows the outputs of one coalition to one victim, copy r + 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from variegate.attacks.base import Attack
from variegate.attacks.white_box.base import WhiteBoxAttack
from variegate.errors import ConfigurationError
from variegate.evaluation.collusion import Ensemble, MajorityVote, Member, Panel, collude
from variegate.evaluation.replication import directions, moved
from variegate.evaluation.stats import rate_of_triples, wilson_rate
from variegate.records.base import Rate, ScalePoint
from variegate.records.collusion import Coalition, Outputs
from variegate.types import Bounds

SCALES = (1.0, 1.1, 1.5, 2.0)
MOST_VICTIMS = 5

_OTHER_CUT = 7  # rows of a batch when copies are asked again
_LEVELS = 256

Arrays = Mapping[str, npt.NDArray[np.generic]]


def line_up(
    copies: int, colluders: int, *, block: int = 0, blocks: int = 1, victims: int = MOST_VICTIMS
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the positions of the colluders and of the victims among the copies.

    The copies are turned by the block's share of them; the first are the colluders, the last at most `victims` of the
    others the victims. So the victims of a block are the same for all numbers of colluders up to `copies` - `victims`.

    Raises:
        ConfigurationError: there are no colluders, or no victim is left.
    """
    if colluders < 1:
        raise ConfigurationError(f"collusion needs at least 1 colluder; got {colluders}")
    if colluders >= copies:
        raise ConfigurationError(
            f"{colluders} colluders need at least {colluders + 1} copies, one of them the victim's; got {copies}"
        )
    turn = block * max(1, copies // max(1, blocks))
    order = [(turn + place) % copies for place in range(copies)]
    return tuple(order[:colluders]), tuple(order[max(colluders, copies - victims) :])


def attack_block(
    attacked: Sequence[Member],
    attack: Attack | WhiteBoxAttack,
    inputs: Tensor,
    labels: Tensor,
    *,
    copies: Sequence[Member],
    colluders: Sequence[int] | None,
    vote: bool,
    seed: int,
    identities: Sequence[int],
    queries: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Arrays:
    """Attack some inputs, and return labels of the outputs by all copies.

    Args:
        attacked: what the colluders put together: their copies, or, with the rewriter stripped, their originals.
        attack: a white-box attack, or one that sees labels alone.
        inputs: float32 (N, *input_shape).
        labels: int64 (N,), the correct ones.
        copies: to be shown the outputs, colluders' and victims' (P).
        colluders: positions of the colluders' copies: only inputs that all of them get right are attacked; None to
            attack all that `attacked` gets right.
        vote: attack the majority vote in place of the mean.
        seed: of attack and noise, with the identities.
        identities: an integer an input.
        queries: budget for each input of an attack that sees labels alone.
        progress: called with (forward rows so far, how many at most or 0).

    Returns:
        truth int64 (N,); attempted, succeeded bool (N,); distances float32 (N,), NaN without success; forward_rows,
        backward_rows int64 (N,); clean int16 (P, N), at int16 (S, P, N) for `SCALES`, noise int16 (P, N): labels;
        again int16 (S, P, N): those of `at`, asked a second time with copies and inputs in reverse order and in batches
        of another size; rounded int16 (S, P, N): of the same points rounded to 256 levels; attack_seconds float64 ().
    """
    target = MajorityVote(attacked) if vote else Ensemble(attacked)
    found = collude(
        target,
        attack,
        inputs,
        labels,
        seed=seed,
        colluders=None if colluders is None else Panel([copies[i] for i in colluders]),
        identities=identities,
        queries=queries,
        progress=progress,
    )
    panel, backwards, bounds, clean = Panel(copies), Panel(copies[::-1]), target.bounds, inputs.cpu()

    def shown(points: Tensor) -> npt.NDArray[np.int16]:
        return panel.predict_all(points.clamp(bounds.lower, bounds.upper)).T.cpu().numpy().astype(np.int16)

    def again(points: Tensor) -> npt.NDArray[np.int16]:
        parts = points.clamp(bounds.lower, bounds.upper).flip(0).split(_OTHER_CUT)
        labels = torch.cat([backwards.predict_all(part) for part in parts])
        return labels.flip(0, 1).T.cpu().numpy().astype(np.int16)

    step, size = found.adversarials - clean, found.distances.nan_to_num(0.0)
    points = [clean + s * step for s in SCALES]
    ways = [directions(clean[i : i + 1], attack.norm, f"{seed}/{name}") for i, name in enumerate(identities)]
    return {
        "truth": labels.cpu().numpy(),
        "attempted": found.attempted.numpy(),
        "succeeded": found.succeeded.numpy(),
        "distances": found.distances.numpy(),
        "forward_rows": found.forward_rows.numpy(),
        "backward_rows": found.backward_rows.numpy(),
        "clean": shown(clean),
        "at": np.stack([shown(each) for each in points]),
        "again": np.stack([again(each) for each in points]),
        "rounded": np.stack([shown(_rounded(each, bounds)) for each in points]),
        "noise": shown(moved(clean, torch.cat(ways), size, attack.norm, bounds)),
        "attack_seconds": np.array(found.seconds),
    }


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A block of inputs, and who is who among the copies that their outputs were shown to.

    Attributes:
        arrays: of `attack_block`.
        colluders, victims: positions among its copies.
        shown: which labels of the outputs are the victims'; which outputs are kept is always decided by "at".
    """

    arrays: Arrays
    colluders: tuple[int, ...]
    victims: tuple[int, ...]
    shown: Literal["at", "again", "rounded"] = "at"


def measure(parts: Sequence[Part], *, variant: str, r: int) -> Coalition:
    """Count over all blocks what `r` colluders did with one variant of the attack.

    `attempted` is |A|, `attack_success_rate` the share of A with an output that fools the ensemble, `kept` the share
    of A with one that fools every colluder, too, `kept_of_successes` the same of those that fool the ensemble.
    `all_outputs` (B) and `kept_outputs` (C) hold the number of outputs, the median norm of those that fool the
    ensemble (of all others the norm is 0), rates with counts and intervals, and R(s) = `replication_at`;
    `validated_outputs` the number, the median norm at the scale that was taken, and the rates.

    Raises:
        ConfigurationError: no part is given.
    """
    if not parts:
        raise ConfigurationError("expected at least one block of inputs to count; got none")
    table = _Table(parts)
    attempted, successes, kept = (int(mask.sum()) for mask in (table.attempted, table.succeeded, table.kept))
    return Coalition(
        variant=variant,
        r=r,
        attempted=attempted,
        attack_success_rate=wilson_rate(successes, attempted),
        kept=wilson_rate(kept, attempted),
        kept_of_successes=wilson_rate(kept, successes),
        all_outputs=table.rates(table.attempted),
        kept_outputs=table.rates(table.kept),
        validated_outputs=table.validated_rates(),
        forward_rows=table.total("forward_rows"),
        backward_rows=table.total("backward_rows"),
        attack_seconds=round(table.total("attack_seconds"), 3),
    )


def control(parts: Sequence[Part], *, variant: str, r: int) -> Coalition:
    """Count as `measure` does, with the colluders themselves for victims, whose copies are asked again.

    `asked_again` repeats the rate of the kept outputs, 100 % where a copy's answer does not depend on the batch it is
    asked in; `rounded` is the same rate for outputs rounded to 8 bits. The parts should have one colluder each.

    Raises:
        ConfigurationError: no part is given.
    """
    own = [replace(part, victims=part.colluders, shown="again") for part in parts]
    again, rounded = (
        measure(each, variant=variant, r=r) for each in (own, [replace(part, shown="rounded") for part in own])
    )
    found = {"asked_again": again.kept_outputs.replication_rate, "rounded": rounded.kept_outputs.replication_rate}
    return again.model_copy(update=found)


@final
class _Table:
    """All blocks side by side: bool arrays (coalitions, copies, images) of victims."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        coalitions = {part.colluders: None for part in parts}
        self.coalitions = list(coalitions)
        copies = max(part.arrays["clean"].shape[0] for part in parts)
        images = sum(part.arrays["truth"].shape[0] for part in parts)
        shape = (len(self.coalitions), copies, images)
        self.attackers = np.array([colluders[0] for colluders in self.coalitions], dtype=np.int64)
        self.victims, self.right, self.noise = (np.zeros(shape, dtype=np.bool_) for _ in range(3))
        self.fooled = np.zeros((len(SCALES), *shape), dtype=np.bool_)
        self.attempted, self.succeeded, self.kept = (np.zeros(images, dtype=np.bool_) for _ in range(3))
        self.validated = np.zeros((len(SCALES), images), dtype=np.bool_)
        self.sizes = np.concatenate([part.arrays["distances"] for part in parts]).astype(np.float64)
        start = 0
        for part in parts:
            start = self._add(part, start)

    def _add(self, part: Part, start: int) -> int:
        arrays, truth = part.arrays, part.arrays["truth"]
        stop, row = start + len(truth), self.coalitions.index(part.colluders)
        mine, copies = list(part.colluders), arrays["clean"].shape[0]
        right, fooled = arrays["clean"] == truth, arrays["at"] != truth  # fooled decides what is kept
        attempted = arrays["attempted"] & right[mine].all(0)
        succeeded = attempted & arrays["succeeded"]
        self.attempted[start:stop], self.succeeded[start:stop] = attempted, succeeded
        self.validated[:, start:stop] = succeeded & fooled[:, mine].all(1)
        self.kept[start:stop] = self.validated[SCALES.index(1.0), start:stop]
        for place in part.victims:
            self.victims[row, place, start:stop] = True
        self.right[row, :copies, start:stop] = right
        self.fooled[:, row, :copies, start:stop] = arrays[part.shown] != truth
        self.noise[row, :copies, start:stop] = arrays["noise"] != truth
        return stop

    def validated_rates(self) -> Outputs:
        """Return the rates at the smallest scale that fools every colluder."""
        found, first = self.validated.any(0), self.validated.argmax(0)
        hit = np.take_along_axis(self.fooled, first[None, None, None, :], 0)[0]
        raw = self.victims & found
        sizes = (self.sizes * np.array(SCALES)[first])[found]
        return Outputs(
            outputs=int(found.sum()),
            median_norm=round(float(np.median(sizes)), 6) if sizes.size else None,
            replication_rate=rate_of_triples(hit, raw, self.attackers),
            replication_rate_conditioned=rate_of_triples(hit, raw & self.right, self.attackers),
        )

    def rates(self, counted: npt.NDArray[np.bool_]) -> Outputs:
        raw = self.victims & counted
        conditioned = raw & self.right
        sizes = self.sizes[counted & self.succeeded]

        def rate(hit: npt.NDArray[np.bool_], base: npt.NDArray[np.bool_]) -> Rate:
            return rate_of_triples(hit, base, self.attackers)

        pairs = [(rate(each, raw), rate(each, conditioned)) for each in self.fooled]
        one = pairs[SCALES.index(1.0)]
        return Outputs(
            outputs=int(counted.sum()),
            median_norm=round(float(np.median(sizes)), 6) if sizes.size else None,
            replication_rate=one[0],
            replication_rate_conditioned=one[1],
            replication_at=tuple(
                ScalePoint(s=s, rate=pair[0], conditioned=pair[1]) for s, pair in zip(SCALES, pairs, strict=True)
            ),
            noise=rate(self.noise, raw),
            noise_conditioned=rate(self.noise, conditioned),
        )

    def total(self, name: str) -> Any:  # noqa: ANN401 (a whole number or a float, as the arrays are)
        return sum(part.arrays[name].sum().item() for part in self.parts)


def _rounded(points: Tensor, bounds: Bounds) -> Tensor:
    """Return the nearest points that an image file of 8 bits a value holds."""
    steps = _LEVELS - 1
    places = ((points - bounds.lower) / bounds.range * steps).round().clamp(0, steps)
    return places / steps * bounds.range + bounds.lower
