"""`semantics="art"` does what ART does: fed ART's own random draws, it asks the same queries and gets the same answers.

At ART's default tolerance most of its searches fail on these networks, and ART goes on where nothing is adversarial;
so most cases have a finer one. Inputs keep away from the bounds: ART's probes leave them, variegate's are clipped.
"""

from pathlib import Path

import pytest

from benchmarks.replay.common import until_a_tie
from benchmarks.replay.geoda import replay_art, replay_variegate
from benchmarks.replay.networks import small_network
from variegate.adapters.art import mended_geoda
from variegate.attacks.geoda import plan_probes
from variegate.types import Norm

pytest.importorskip("art", reason="ART is not installed; pip install 'variegate[art]'", exc_type=ImportError)

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # ART's own, of which there are many
]


def both(seed, *, art_seed=None, **options):
    classifier, images, _ = small_network(seed)
    image = 0.1 + 0.8 * images[:1]
    options = {"norm": Norm.L2, "sub_dim": 3, "max_queries": 1000, "tolerance": 1e-3, "seed": 100 + seed} | options
    art = replay_art(classifier, image, **options | ({} if art_seed is None else {"seed": art_seed}))
    return classifier, image, art, replay_variegate(classifier, image, **options)


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("sub_dim", [3, 4])
def test_from_arts_starts(norm, sub_dim):
    agreed = 0
    for seed in (0, 1, 2):
        classifier, _, art, ours = both(seed, norm=norm, sub_dim=sub_dim)
        agreed += until_a_tie(classifier, art, ours)
        assert len(ours.labels) > 850
    assert agreed >= 1  # all iterations, decision by decision


@pytest.mark.parametrize("norm", list(Norm))
def test_with_arts_default_tolerance(norm):
    agreed = 0
    for seed in (1, 6):
        classifier, _, art, ours = both(seed, norm=norm, tolerance=0.1, max_queries=1500)
        agreed += until_a_tie(classifier, art, ours)
    assert agreed >= 1


def test_where_arts_search_fails_ours_stays_adversarial():
    classifier, image, art, ours = both(0, tolerance=0.1, max_queries=1500)
    label = classifier.predict(image)
    assert classifier.predict(art.adversarial[None]) == label  # what ART returns is no adversarial
    assert classifier.predict(ours.adversarial[None]) != label


def test_the_comparison_can_fail():
    classifier, _, art, ours = both(0, art_seed=7)
    with pytest.raises(AssertionError):
        until_a_tie(classifier, art, ours)


def test_plans_are_arts():
    """For all numbers of queries from 300 up; below and for few above, ART's recursion does not end."""
    endless = 0
    with mended_geoda() as module:
        plan = module.GeoDA.__new__(module.GeoDA)._opt_query_iteration
        for queries in range(300, 6000, 37):
            first = round(queries / 500)
            try:
                _, count = plan(queries - first * 25, first, 0.6)
                expected, _ = plan(queries - count * 25, first, 0.6)
            except (RecursionError, IndexError):
                endless += 1
                continue
            assert plan_probes(queries, 0.6) == tuple(expected)
    assert endless <= 3


def test_arts_cache_file_is_not_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both(1, max_queries=500)
    assert not list(Path().iterdir())
