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
- noise: the same for random perturbations of equal norm (after clipping) in place of the outputs.

The victims stay the same for all numbers of colluders where there are copies enough (`line_up`), and blocks of inputs
have different coalitions; an interval draws images and copies (`variegate.evaluation.stats`), a coalition as the copy
of its first member. The paper shows the outputs of one coalition to one victim, copy r + 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

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

__all__ = ["MOST_VICTIMS", "SCALES", "Arrays", "Part", "attack_block", "line_up", "measure"]

SCALES = (1.0, 1.1, 1.5, 2.0)
MOST_VICTIMS = 5

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
        attack_seconds float64 ().
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
    panel, bounds, clean = Panel(copies), target.bounds, inputs.cpu()

    def shown(points: Tensor) -> npt.NDArray[np.int16]:
        return panel.predict_all(points.clamp(bounds.lower, bounds.upper)).T.cpu().numpy().astype(np.int16)

    step, size = found.adversarials - clean, found.distances.nan_to_num(0.0)
    ways = [directions(clean[i : i + 1], attack.norm, f"{seed}/{name}") for i, name in enumerate(identities)]
    return {
        "truth": labels.cpu().numpy(),
        "attempted": found.attempted.numpy(),
        "succeeded": found.succeeded.numpy(),
        "distances": found.distances.numpy(),
        "forward_rows": found.forward_rows.numpy(),
        "backward_rows": found.backward_rows.numpy(),
        "clean": shown(clean),
        "at": np.stack([shown(clean + s * step) for s in SCALES]),
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
    """

    arrays: Arrays
    colluders: tuple[int, ...]
    victims: tuple[int, ...]


def measure(parts: Sequence[Part]) -> dict[str, Any]:
    """Count over all blocks; JSON values.

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
    return {
        "attempted": attempted,
        "attack_success_rate": wilson_rate(successes, attempted).to_dict(),
        "kept": wilson_rate(kept, attempted).to_dict(),
        "kept_of_successes": wilson_rate(kept, successes).to_dict(),
        "all_outputs": table.rates(table.attempted),
        "kept_outputs": table.rates(table.kept),
        "validated_outputs": table.validated_rates(),
        "forward_rows": table.total("forward_rows"),
        "backward_rows": table.total("backward_rows"),
        "attack_seconds": round(table.total("attack_seconds"), 3),
    }


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
        right, fooled = arrays["clean"] == truth, arrays["at"] != truth
        attempted = arrays["attempted"] & right[mine].all(0)
        succeeded = attempted & arrays["succeeded"]
        self.attempted[start:stop], self.succeeded[start:stop] = attempted, succeeded
        self.validated[:, start:stop] = succeeded & fooled[:, mine].all(1)
        self.kept[start:stop] = self.validated[SCALES.index(1.0), start:stop]
        for place in part.victims:
            self.victims[row, place, start:stop] = True
        self.right[row, :copies, start:stop] = right
        self.fooled[:, row, :copies, start:stop] = fooled
        self.noise[row, :copies, start:stop] = arrays["noise"] != truth
        return stop

    def validated_rates(self) -> dict[str, Any]:
        """Return the rates at the smallest scale that fools every colluder."""
        found, first = self.validated.any(0), self.validated.argmax(0)
        hit = np.take_along_axis(self.fooled, first[None, None, None, :], 0)[0]
        raw = self.victims & found
        sizes = (self.sizes * np.array(SCALES)[first])[found]
        return {
            "outputs": int(found.sum()),
            "median_norm": round(float(np.median(sizes)), 6) if sizes.size else None,
            "replication_rate": rate_of_triples(hit, raw, self.attackers).to_dict(),
            "replication_rate_conditioned": rate_of_triples(hit, raw & self.right, self.attackers).to_dict(),
        }

    def rates(self, counted: npt.NDArray[np.bool_]) -> dict[str, Any]:
        raw = self.victims & counted
        conditioned = raw & self.right
        sizes = self.sizes[counted & self.succeeded]

        def rate(hit: npt.NDArray[np.bool_], base: npt.NDArray[np.bool_]) -> dict[str, Any]:
            return rate_of_triples(hit, base, self.attackers).to_dict()

        curve = [
            {"s": s, "rate": rate(self.fooled[i], raw), "conditioned": rate(self.fooled[i], conditioned)}
            for i, s in enumerate(SCALES)
        ]
        one = curve[SCALES.index(1.0)]
        return {
            "outputs": int(counted.sum()),
            "median_norm": round(float(np.median(sizes)), 6) if sizes.size else None,
            "replication_rate": one["rate"],
            "replication_rate_conditioned": one["conditioned"],
            "replication_at": curve,
            "noise": rate(self.noise, raw),
            "noise_conditioned": rate(self.noise, conditioned),
        }

    def total(self, name: str) -> Any:  # noqa: ANN401 (a whole number or a float, as the arrays are)
        return sum(part.arrays[name].sum().item() for part in self.parts)
