"""Intervals against published values, by symmetry, and by how often they hold the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variegate.errors import InputError
from variegate.evaluation.stats import mean_of_units, rate_of_triples, wilson_rate
from variegate.records.base import Rate


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        # Newcombe (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # and by the formula
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson(k, n, low, high):
    rate = wilson_rate(k, n)
    assert (rate.k, rate.n, rate.interval) == (k, n, "wilson")
    assert rate.rate == k / n
    assert rate.low == pytest.approx(low, abs=6e-5)
    assert rate.high == pytest.approx(high, abs=6e-5)


@given(st.integers(1, 2000), st.data())
def test_wilson_is_symmetric_and_holds_the_rate(n, data):
    k = data.draw(st.integers(0, n))
    rate, mirrored = wilson_rate(k, n), wilson_rate(n - k, n)
    assert 0.0 <= rate.low <= rate.rate <= rate.high <= 1.0
    assert rate.low == pytest.approx(1.0 - mirrored.high, abs=1e-12)


def test_nothing_counted():
    assert wilson_rate(0, 0) == Rate(rate=None, k=0, n=0, low=None, high=None, interval="wilson")
    assert wilson_rate(0, 0).to_dict() == {
        "rate": None,
        "k": 0,
        "n": 0,
        "low": None,
        "high": None,
        "interval": "wilson",
    }
    empty = np.zeros((2, 3, 5), dtype=bool)
    assert rate_of_triples(empty, empty, np.array([0, 1])).to_dict()["rate"] is None
    none = np.zeros((2, 3, 0), dtype=bool)
    assert rate_of_triples(none, none, np.array([0, 1])).n == 0


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 4), (1, 0)])
def test_impossible_counts(k, n):
    with pytest.raises(InputError, match=f"k must be from 0 to n; got k={k}, n={n}"):
        wilson_rate(k, n)


def pairs(copies, images):
    counted = np.ones((copies, copies, images), dtype=bool)
    counted[np.arange(copies), np.arange(copies)] = False
    return counted


def test_counts_are_of_counted_triples_only():
    counted = pairs(3, 4)
    counted[0, 1, 2] = False
    hit = np.ones((3, 3, 4), dtype=bool)
    hit[1, 2, :] = False
    rate = rate_of_triples(hit, counted, np.arange(3))
    assert (rate.k, rate.n) == (19, 23)
    assert rate.interval == "bootstrap"
    assert rate.low < rate.rate < rate.high


def test_one_pair_is_a_row_of_trials():
    counted = np.zeros((1, 2, 30), dtype=bool)
    counted[0, 1] = True
    hit = np.zeros((1, 2, 30), dtype=bool)
    hit[0, 1, :7] = True
    assert rate_of_triples(hit, counted, np.array([0])) == wilson_rate(7, 30)


@pytest.mark.parametrize("share", [0, 1])
def test_all_or_none_hit_has_the_width_of_its_images_not_of_its_triples(share):
    counted = pairs(5, 30)
    hit = counted & bool(share)
    rate = rate_of_triples(hit, counted, np.arange(5))
    assert (rate.k, rate.n) == (600 * share, 600)
    width = wilson_rate(30 * share, 30)
    assert (rate.low, rate.high) == (width.low, width.high)


def test_bootstrap_is_repeatable():
    hit = simulate(np.random.default_rng(0), copies=4, images=37, image_spread=4.0, copy_spread=3.0)
    counted = pairs(4, 37)
    one, again, other = (rate_of_triples(hit, counted, np.arange(4), seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert one.interval == "bootstrap"


def test_one_attacker_among_several_victims():
    """Only victims and images vary; the attacker's own copy is not counted."""
    counted = np.ones((1, 4, 20), dtype=bool)
    counted[0, 0] = False
    hit = np.zeros((1, 4, 20), dtype=bool)
    hit[0, 1], hit[0, 2, :10] = True, True
    rate = rate_of_triples(hit, counted, np.array([0]))
    assert (rate.k, rate.n, rate.interval) == (30, 60, "bootstrap")
    assert rate.low < 0.25  # three victims with rates 1, 1/2 and 0: wide
    assert rate.high > 0.75


def simulate(generator, *, copies=5, images=40, image_spread=1.5, copy_spread=0.7):
    """Hits whose chance depends on the image, the attacker and the victim, and the rate over all images and copies."""
    easy = image_spread * generator.standard_normal(images)
    bad, weak = copy_spread * generator.standard_normal((2, copies))
    chance = 1 / (1 + np.exp(-(easy[None, None] + bad[:, None, None] + weak[None, :, None] - 0.5)))
    return generator.random(chance.shape) < chance


def test_bootstrap_holds_the_truth_about_as_often_as_it_says():
    """Two-way bootstrap intervals of the pooled rate, against Wilson's as if all triples were independent."""
    generator = np.random.default_rng(1)
    draws = generator.standard_normal(200_000) * np.sqrt(1.5**2 + 2 * 0.7**2)
    truth = float((1 / (1 + np.exp(-(draws - 0.5)))).mean())
    counted, covered, naive, runs = pairs(5, 40), 0, 0, 60
    for _ in range(runs):
        hit = simulate(generator)
        rate = rate_of_triples(hit, counted, np.arange(5))
        independent = wilson_rate(rate.k, rate.n)
        covered += rate.low <= truth <= rate.high
        naive += independent.low <= truth <= independent.high
    assert covered >= 0.8 * runs
    assert naive <= 0.7 * runs


def wilson_over_images(k, n, images):
    """Return Wilson's interval for the share k / n over `images` trials, by its defining quadratic."""
    z, p = 1.959963984540054, k / n
    # (p - q)^2 = z^2 q (1 - q) / images, solved for q
    low, high = sorted(np.roots([1 + z * z / images, -(2 * p + z * z / images), p * p]).real)
    return low, high


@st.composite
def triples(draw):
    """Hits, counted triples and attackers: few copies and images, hits seldom or often."""
    copies, images = draw(st.integers(2, 4)), draw(st.integers(1, 12))
    attackers = np.array(draw(st.permutations(range(copies))))[: draw(st.integers(1, copies))]
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    hit = generator.random((len(attackers), copies, images)) < draw(st.sampled_from([0.0, 0.02, 0.3, 0.7, 1.0]))
    counted = generator.random(hit.shape) < draw(st.sampled_from([0.3, 1.0]))
    counted[np.arange(len(attackers)), attackers] = False
    return hit, counted, attackers


@settings(max_examples=60, deadline=None)
@given(triples())
def test_intervals_hold_the_rate_and_are_never_narrower_than_wilsons_over_the_images(case):
    hit, counted, attackers = case
    rate = rate_of_triples(hit, counted, attackers)
    assert (rate.k, rate.n) == (int((hit & counted).sum()), int(counted.sum()))
    if rate.n == 0:
        assert rate.low is rate.rate is rate.high is None
        return
    assert 0.0 <= rate.low <= rate.rate <= rate.high <= 1.0
    if counted.any(2).sum() > 1:
        low, high = wilson_over_images(rate.k, rate.n, int(counted.any((0, 1)).sum()))
        assert rate.low <= low + 1e-9
        assert rate.high >= high - 1e-9


@settings(max_examples=25, deadline=None)
@given(copies=st.integers(3, 6), images=st.integers(5, 40), seed=st.integers(0, 2**31), mirrored=st.booleans())
def test_intervals_are_continuous_near_none_and_near_all(copies, images, seed, mirrored):
    """One more hit moves the ends by little, and never inwards past those for no hit at all."""
    counted, generator = pairs(copies, images), np.random.default_rng(seed)
    places = generator.permutation(np.flatnonzero(counted))
    highs, lows = [], []
    for k in range(4):
        hit = np.zeros(counted.shape, dtype=bool)
        hit.flat[places[:k]] = True
        rate = rate_of_triples(~hit if mirrored else hit, counted, np.arange(copies))
        low, high = (1 - rate.high, 1 - rate.low) if mirrored else (rate.low, rate.high)
        assert low <= k / counted.sum() + 1e-12
        lows.append(low)
        highs.append(high)
    assert lows[0] == 0.0
    assert highs == sorted(highs)
    # k hits drawn with weights: a bootstrap's upper end is a few times k / n, Wilson's moves by less than 3 / images
    wilson = [wilson_over_images(k, int(counted.sum()), images)[1] for k in range(4)]
    for k in (1, 2, 3):
        assert highs[k] >= wilson[k] - 1e-9
    assert highs[1] - highs[0] <= 3.0 / images


def test_one_hit_is_not_surer_than_none():
    """The first of 600 hits must not halve the interval."""
    counted = pairs(5, 30)
    hit = np.zeros(counted.shape, dtype=bool)
    none = rate_of_triples(hit, counted, np.arange(5))
    hit[0, 1, 0] = True
    one = rate_of_triples(hit, counted, np.arange(5))
    assert none.high == pytest.approx(0.1135, abs=1e-4)  # 0 of 30 images
    assert none.high < one.high < none.high + 0.01
    assert 0.0 <= one.low < 1 / 600


def test_copies_of_one_original_are_not_independent():
    """Three originals that differ entirely, five copies each: the interval is that of three, not of fifteen."""
    clusters = np.repeat(np.arange(3), 5)
    hit = np.zeros((15, 15, 40), dtype=bool)
    hit[clusters == 0] = True  # whatever the first original's copies find works everywhere
    counted = np.ones_like(hit) & (clusters[:, None] != clusters[None, :])[:, :, None]
    attackers = np.arange(15)
    pooled, nested = (rate_of_triples(hit, counted, attackers, clusters=c) for c in (None, clusters))
    assert pooled.rate == nested.rate == pytest.approx(1 / 3)
    assert nested.high - nested.low > 1.3 * (pooled.high - pooled.low)
    assert (nested.low, nested.high) == (0.0, 0.5)  # the first is not drawn; it and one other are


def test_one_cluster_is_none():
    generator = np.random.default_rng(0)
    hit = generator.random((4, 4, 30)) < 0.3
    counted = np.ones_like(hit) & ~np.eye(4, dtype=bool)[:, :, None]
    attackers = np.arange(4)
    alone, one = (rate_of_triples(hit, counted, attackers, clusters=c) for c in (None, np.full(4, 7)))
    assert alone == one


def test_the_mean_of_units_covers_what_varies_between_them():
    generator = np.random.default_rng(1)
    values = generator.normal(size=(1, 500)) * 0.01 + np.array([0.0, 1.0, 2.0])[:, None]
    found = mean_of_units(values)
    assert found["mean"] == pytest.approx(values.mean())
    assert found["low"] < 0.5
    assert found["high"] > 1.5
    narrow = mean_of_units(values[[1, 1, 1]])
    assert narrow["high"] - narrow["low"] < 0.01
    with pytest.raises(InputError, match="units and images"):
        mean_of_units(np.zeros((0, 3)))
