"""Every rate of a tiny case that is worked out by hand.

Inputs are one number; copy j gives label 1 above its threshold and label 2 one further; the correct label is always 0:

    image             0     1     2     3          copy        0     1     2
    clean             1     2     3     4          threshold 5.05  6.05  3.55   (copy 2 gets image 3 wrong)
    attacker 0      5.5   5.2   6.5     -
    attacker 1      6.5   6.1     -   7.0
"""

import numpy as np
import pytest
import torch

from variegate.errors import InputError
from variegate.evaluation.replication import SCALES, AttackerOutcome, default_norms, measure_replication
from variegate.records.replication import RATE_NAMES
from variegate.types import Bounds, Norm

THRESHOLDS = torch.tensor([5.05, 6.05, 3.55])
CLEAN = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
LABELS = torch.zeros(4, dtype=torch.int64)
BOUNDS = Bounds(0.0, 10.0)


def predict_all(x):
    return (x > THRESHOLDS).long() + (x > THRESHOLDS + 1.0).long()


def attacker(copy, adversarials, succeeded, attempted=(True,) * 4):
    return AttackerOutcome(
        copy=copy,
        adversarials=torch.tensor(adversarials)[:, None],
        attempted=torch.tensor(attempted),
        succeeded=torch.tensor(succeeded),
    )


OUTCOMES = [
    attacker(0, [5.5, 5.2, 6.5, 4.0], [True, True, True, False]),
    attacker(1, [6.5, 6.1, 3.0, 7.0], [True, True, False, True]),
]


def measure(
    outcomes=OUTCOMES, *, predict=predict_all, clean=CLEAN, scales=(0.5, 1.0, 2.0), norms=(0.5, 1.0, 4.0), **options
):
    options = {"norm": Norm.L2, "bounds": BOUNDS, "seed": 0, **options}
    return measure_replication(predict, clean, LABELS[: len(clean)], outcomes, scales=scales, norms=norms, **options)


def counts(rate):
    return (rate.k, rate.n)


def test_rates():
    rates = measure().rates()
    assert {name: counts(rates[name]) for name in RATE_NAMES} == {
        "attack_success_rate": (6, 8),
        "replication_rate": (10, 12),  # attacker 0: 1 of 3 on copy 1, 3 of 3 on copy 2; attacker 1: 3 and 3
        "replication_rate_conditioned": (9, 11),  # without image 3 on copy 2, wrong when clean
        "replicated_same_rate": (1, 12),  # image 2 of attacker 0 is label 2 on copies 0 and 2
        "end_to_end_rate": (10, 16),
    }
    assert all(rates[name].low <= rates[name].rate <= rates[name].high for name in RATE_NAMES)


def test_scales():
    points = measure().replication_at()
    assert [point.s for point in points] == [0.5, 1.0, 2.0]
    assert [counts(point.rate) for point in points] == [(6, 12), (10, 12), (12, 12)]
    assert [counts(point.conditioned) for point in points] == [(5, 11), (9, 11), (11, 11)]


def test_norms():
    points = measure().replication_within()
    assert [point.epsilon for point in points] == [0.5, 1.0, 4.0]
    assert [counts(point.rate) for point in points] == [(1, 12), (2, 12), (9, 12)]
    # without image 3 on copy 2, which gets it wrong when clean
    assert [counts(point.conditioned) for point in points] == [(0, 11), (1, 11), (8, 11)]


def test_the_security_curve_is_the_largest_rate_so_far():
    """An attacker who may use a norm may also use less of it."""

    def pocket(x):
        inside = ((x > 3.5) & (x < 4.5)).long()
        return inside.expand(-1, 2)

    outcome = [attacker(0, [4.0, 4.0, 4.0, 4.0], [True, True, True, False])]
    points = measure(outcome, predict=pocket, norms=(0.1, 1.0, 2.0, 5.0)).replication_within()
    assert [counts(point.rate)[0] for point in points] == [0, 1, 1, 1]
    # both rates are of the same norm: the conditioned one does not fall back either
    assert [counts(point.conditioned)[0] for point in points] == [0, 1, 1, 1]


def test_matrix():
    assert measure().matrix().to_dict() == {
        "attackers": [0, 1],
        "victims": [0, 1, 2],
        "replicated": [[None, 1, 3], [3, None, 3]],
        "n": [[None, 3, 3], [3, None, 3]],
    }


def test_reverified():
    assert measure().reverified() == 6
    doubtful = attacker(0, [5.5, 5.2, 5.0, 4.0], [True, True, True, False])  # 5.0 is no longer misclassified
    assert measure([doubtful]).reverified() == 2


def test_success_counts_only_where_the_input_was_attempted():
    """B is part of A, whatever is handed in."""
    outcome = attacker(0, [5.5, 5.2, 6.5, 4.0], [True, True, True, False], attempted=[False, True, True, True])
    rates = measure([outcome]).rates()
    assert counts(rates["attack_success_rate"]) == (2, 3)
    assert counts(rates["replication_rate"]) == (3, 4)
    assert counts(rates["end_to_end_rate"]) == (3, 6)


def test_nobody_succeeded():
    outcome = measure([attacker(0, [1.0, 2.0, 3.0, 4.0], [False] * 4)])
    rates = outcome.rates()
    assert counts(rates["replication_rate"]) == (0, 0)
    assert rates["replication_rate"].rate is None
    assert counts(rates["attack_success_rate"]) == (0, 4)
    assert outcome.matrix().n == ((None, 0, 0),)
    assert all(point.rate.rate is None for point in outcome.replication_within())


def test_identical_copies_replicate_always():
    def twins(x):
        return (x > 5.05).long().expand(-1, 3)

    rates = measure([OUTCOMES[0]], predict=twins).rates()
    for name in ("replication_rate", "replication_rate_conditioned", "replicated_same_rate"):
        assert rates[name].rate == 1.0


@pytest.mark.parametrize("norm", Norm)
def test_noise_has_the_norms_of_the_adversarials(norm):
    asked = []

    def record(x):
        asked.append(x.clone())
        return torch.zeros((len(x), 2), dtype=torch.int64)

    clean = torch.full((3, 2, 4), 50.0)
    change = torch.randn((3, 2, 4), generator=torch.Generator().manual_seed(5))
    everything = torch.ones(3, dtype=torch.bool)
    outcome = AttackerOutcome(copy=0, adversarials=clean + change, attempted=everything, succeeded=everything)
    measure(
        [outcome], predict=record, clean=clean, norm=norm, bounds=Bounds(0.0, 100.0), scales=(1.0, 2.0), norms=(0.7,)
    )

    def size(x):
        flat = (x - clean).flatten(1)
        return flat.norm(dim=1) if norm is Norm.L2 else flat.abs().amax(1)

    own = size(clean + change)
    expected = [own, 2 * own, own, 2 * own, torch.full((3,), 0.7), torch.full((3,), 0.7), own, torch.zeros(3)]
    assert len(asked) == len(expected)  # adversarials and noise at 2 scales and 1 norm, the adversarials, the clean
    for points, sizes in zip(asked, expected, strict=True):
        torch.testing.assert_close(size(points), sizes, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(asked[0], asked[2])


@pytest.mark.parametrize("norm", Norm)
def test_noise_keeps_its_norm_after_clipping(norm):
    """On black and white pixels, half of any random direction leaves the bounds."""
    asked = []

    def record(x):
        asked.append(x.clone())
        return torch.zeros((len(x), 2), dtype=torch.int64)

    generator = torch.Generator().manual_seed(6)
    clean = torch.randint(0, 2, (4, 1, 12, 12), generator=generator).float()
    step = 0.1 * torch.rand(clean.shape, generator=generator) * (1.0 - 2.0 * clean)  # inwards
    everything = torch.ones(4, dtype=torch.bool)
    outcome = AttackerOutcome(copy=0, adversarials=clean + step, attempted=everything, succeeded=everything)
    bounds = Bounds(0.0, 1.0)
    measure([outcome], predict=record, clean=clean, norm=norm, bounds=bounds, scales=(1.0, 2.0), norms=(0.4,))

    def size(x):
        flat = (x - clean).flatten(1)
        return flat.norm(dim=1) if norm is Norm.L2 else flat.abs().amax(1)

    expected = [size(clean + step), size(clean + 2 * step), torch.full((4,), 0.4)]
    adversarial, noise = [*asked[:2], asked[4]], [*asked[2:4], asked[5]]
    for theirs, ours, wanted in zip(adversarial, noise, expected, strict=True):
        torch.testing.assert_close(size(theirs), wanted, rtol=2e-3, atol=1e-5)
        torch.testing.assert_close(size(ours), wanted, rtol=2e-3, atol=1e-5)
        assert float(ours.min()) >= 0.0
        assert float(ours.max()) <= 1.0


def test_noise_control_counts_noise():
    noise = measure(seed=3).noise_control()
    raw = measure(seed=3)
    one = raw.scales.index(1.0)
    assert np.array_equal(noise.fooled, raw.noise)
    assert noise.rates()["replication_rate"].k == int((raw.noise[:, one] & raw._pairs(raw.succeeded)).sum())
    assert noise.rates()["replicated_same_rate"].k == 0


def test_points_are_clipped_to_the_bounds():
    seen = []

    def record(x):
        seen.append(x)
        return predict_all(x)

    measure(predict=record, scales=(1.0, 3.0))
    assert min(float(x.min()) for x in seen) >= 0.0
    assert max(float(x.max()) for x in seen) <= 10.0


def test_default_norms_are_in_units_of_the_input():
    assert default_norms(Norm.LINF, Bounds(0.0, 255.0))[:3] == pytest.approx((1.0, 2.0, 3.0))
    assert default_norms(Norm.L2, Bounds(-1.0, 1.0))[0] == pytest.approx(0.1)
    assert 1.0 in SCALES


def test_bad_calls():
    with pytest.raises(InputError, match="at least one attacker's outcome; got none"):
        measure([])
    with pytest.raises(InputError, match="scales must hold 1, at which the rates are taken; got 0.5, 2.0"):
        measure(scales=(0.5, 2.0))
