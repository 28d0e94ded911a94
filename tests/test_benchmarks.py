"""What the benchmarks conclude: verdicts from intervals, distances within q queries, attacks that a limit ends."""

import numpy as np
import pytest
import torch

from benchmarks import ordering, parity_replay
from benchmarks.machine import growth_mib
from benchmarks.paired import ratios
from benchmarks.replay.common import RecordingModule, Replay
from benchmarks.replay.networks import small_network
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.errors import ConfigurationError
from variegate.types import Norm


def test_the_closest_adversarial_within_q_queries():
    points = torch.zeros(5, 1, 1, 2)
    points[1:, 0, 0, 0] = torch.tensor([3.0, 0.5, 2.0, 1.0])
    replay = Replay(adversarial=None, labels=torch.tensor([0, 1, 0, 1, 1]), points=points)
    assert replay.closest_within((1, 2, 3, 4, 5), Norm.L2) == [None, 3.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize("limit", [1, 37, 200])
def test_a_limit_ends_an_attack_after_so_many_queries(limit):
    classifier, images, labels = small_network(0)
    module = RecordingModule(classifier, limit)
    whole = RecordingModule(classifier)

    def attack(recorder):
        def run():
            result = run_attack(HopSkipJump(iterations=3), recorder.oracle(), images[:1], labels[:1], seed=0)
            return result.adversarials[0]

        return run

    replay, complete = module.replay(attack(module)), whole.replay(attack(whole))
    assert len(replay.labels) == limit < len(complete.labels)
    assert replay.adversarial is None
    assert complete.adversarial is not None
    assert torch.equal(replay.points, complete.points[:limit])


@pytest.mark.parametrize(
    ("factor", "spread", "verdict"),
    [(1.0, 0.001, "equal"), (1.2, 0.01, "apart"), (0.8, 0.01, "apart"), (1.0, 0.8, "open")],
)
def test_parity_goes_by_the_interval(factor, spread, verdict):
    generator = np.random.default_rng(0)
    theirs = generator.uniform(0.5, 2.0, 12)
    ours = theirs * factor * np.exp(spread * generator.standard_normal(12))
    assert parity_replay._verdict(ratios(ours, theirs, resamples=500, seed=0)) == verdict
    assert parity_replay._verdict(ratios(ours[:5], ours[:5], resamples=500, seed=0)) == "open"
    assert parity_replay._verdict(None) == "none"


def test_claims_are_judged_for_variants_too():
    near, far = np.linspace(0.1, 0.2, 8)[:, None], np.linspace(1.0, 2.0, 8)[:, None]
    closest = {("cgba:subspace=full", "l2"): near, ("cgba", "l2"): far * 1.5, ("hopskipjump", "l2"): far}
    judged = ordering._judge("net", (5000,), closest, 500)
    verdicts = {(j["ahead"], j["behind"]): j["verdict"] for j in judged}
    assert verdicts["cgba:subspace=full", "hopskipjump"] == "holds"
    assert verdicts["cgba", "hopskipjump"] == "does not hold"


def test_attacks_with_settings():
    found = ordering._variants(["hsj", "cgba:subspace=dct:8,first_probes=20", "rays"])
    assert set(found) == {
        ("hopskipjump", "l2"),
        ("cgba:subspace=dct:8,first_probes=20", "l2"),
        ("rays", "linf"),
        ("hopskipjump", "linf"),
    }
    assert found["cgba:subspace=dct:8,first_probes=20", "l2"].first_probes == 20
    with pytest.raises(ConfigurationError, match="no parameter 'nothing'"):
        ordering._variants(["cgba:nothing=1"])


def test_memory_that_an_action_takes_is_seen():
    grown = growth_mib(lambda: np.ones(16 * 2**20))
    if grown is None:
        pytest.skip("this system does not tell the peak of a part of a process's life")
    assert 120 <= grown <= 200
