"""Probe counts for noisy oracles against the closed form, simulation and enumeration."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.attacks.toolbox import expected_cosine, probes_for, voted_flip_rate
from variegate.errors import ConfigurationError

RATES = st.floats(0.0, 0.45)


def test_known_figures():
    assert expected_cosine(100, 3072) == pytest.approx(0.1425, abs=1e-4)
    assert expected_cosine(707, 3072) == pytest.approx(0.3575, abs=1e-4)
    assert probes_for(0.2, 100) == 278  # 100 / 0.36
    assert probes_for(0.25, 100) == 400
    assert voted_flip_rate(0.2, 5) == pytest.approx(0.05792)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4])
@pytest.mark.parametrize(("probes", "size"), [(60, 40), (300, 40), (100, 200)])
def test_the_expected_cosine_is_that_of_a_simulation(rate, probes, size):
    """The formula is a ratio of means; the mean of the ratio is the same up to a part in the number of probes."""
    generator = torch.Generator().manual_seed(0)
    repeats = 300
    u = torch.randn((repeats, probes, size), generator=generator)
    f = torch.where(u[..., 0] > 0, 1.0, -1.0)
    f = torch.where(torch.rand((repeats, probes), generator=generator) < rate, -f, f)
    total = torch.einsum("rp,rpd->rd", f, u)
    cosines = total[:, 0] / total.norm(dim=1)
    error = float(cosines.std()) / math.sqrt(repeats)
    assert abs(float(cosines.mean()) - expected_cosine(probes, size, flip_rate=rate)) < 4.0 * error + 0.01


@given(RATES, st.integers(1, 20_000), st.integers(2, 5000))
def test_the_fewest_probes_of_at_least_the_same_cosine(rate, probes, size):
    wanted, needed = expected_cosine(probes, size), probes_for(rate, probes)
    assert needed >= probes
    assert expected_cosine(needed, size, flip_rate=rate) >= wanted * (1.0 - 1e-8)
    if needed > 1:
        assert expected_cosine(needed - 1, size, flip_rate=rate) < wanted


@given(st.integers(1, 10**6))
def test_without_noise_nothing_changes(probes):
    assert probes_for(0.0, probes) == probes


@pytest.mark.parametrize("votes", range(1, 8))
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3])
def test_the_rate_of_a_wrong_majority_by_enumeration(votes, rate):
    wrong = 0.0
    for answers in itertools.product([0, 1], repeat=votes):
        chance = math.prod(rate if answer else 1.0 - rate for answer in answers)
        most = sum(answers) * 2 - votes
        wrong += chance * (most > 0 or (most == 0 and answers[0] == 1))
    assert voted_flip_rate(rate, votes) == pytest.approx(wrong, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: probes_for(0.5, 10), "flip_rate must be from 0 to below 0.5; got 0.5"),
        (lambda: probes_for(-0.1, 10), "got -0.1"),
        (lambda: probes_for(math.nan, 10), "got nan"),
        (lambda: probes_for(0.1, 0), "probes must be at least 1; got 0"),
        (lambda: expected_cosine(0, 10), "probes must be at least 1; got 0"),
        (lambda: expected_cosine(10, 0), "dimension must be at least 1; got 0"),
        (lambda: expected_cosine(10, 10, flip_rate=0.5), "flip_rate must be from 0"),
        (lambda: voted_flip_rate(0.1, 0), "votes must be at least 1; got 0"),
        (lambda: voted_flip_rate(1.0, 3), "flip_rate must be from 0"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ConfigurationError, match=message):
        call()
