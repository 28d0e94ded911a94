"""Votes: the majority, its price, its independence of the batch, and attacks that run through it."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.errors import BudgetError, ConfigurationError, InputError, VerificationError
from variegate.oracles import voting
from variegate.oracles.hard_label import HardLabelOracle
from variegate.oracles.jitter import GaussianJitter, NaturalJitter
from variegate.oracles.rounding import Rounded
from variegate.oracles.voting import MajorityVote
from variegate.testing import attack_contract
from variegate.testing.attack_contract import ATTACK_CHECKS, attack_closed_form
from variegate.testing.closed_form import LinearClassifier, RecordingModel
from variegate.types import Bounds, Norm, Status

SHAPE = (1, 6, 5)
TINY = GaussianJitter(1e-9)  # less than float32 can tell from nothing, at 0.5


def hard(predict, *, samples=3, shape=SHAPE, budget=None, rows=None, classes=2):
    return HardLabelOracle(
        predict,
        input_shape=shape,
        bounds=Bounds(),
        num_classes=classes,
        samples=samples,
        budget=budget,
        preferred_rows=rows,
    )


def of_bright(x):
    return (x.flatten(1).double().mean(1) > 0.5).long()


def points(count, seed=0, shape=SHAPE):
    return torch.rand((count, *shape), generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_the_majority_of_any_votes(votes):
    """Of equals, the first that was voted for: `Counter` keeps that order."""
    answers = iter(votes)
    oracle = hard(lambda x: torch.tensor([next(answers) for _ in x]), samples=1, classes=4)
    asked = MajorityVote(oracle, TINY, votes=len(votes), seed=0)
    assert asked.label(torch.full((1, *SHAPE), 0.5), torch.tensor([0])).tolist() == [
        Counter(votes).most_common(1)[0][0]
    ]


def check_majority_has_the_chance_of_independent_votes():
    """A point `gap` sigmas above a plane: one vote is right with chance Phi(gap), a majority with a binomial tail."""
    model = LinearClassifier(SHAPE)
    sigma, gap, votes, count = 0.01, 0.4, 5, 3000
    x = 0.5 + gap * sigma * model.normal.float().view(1, *SHAPE)
    oracle = MajorityVote(hard(model.predict, samples=1), GaussianJitter(sigma), votes=votes, seed=3)
    answers = oracle.label(x.expand(count, *SHAPE), torch.zeros(count, dtype=torch.int64))
    one = 0.5 * (1.0 + math.erf(gap / math.sqrt(2.0)))
    chance = sum(math.comb(votes, k) * one**k * (1.0 - one) ** (votes - k) for k in range(3, votes + 1))
    error = math.sqrt(chance * (1.0 - chance) / count)
    assert abs(float(answers.double().mean()) - chance) < 4.0 * error
    assert abs(one - chance) > 8.0 * error  # so a single vote would be noticed


def test_majority_has_the_chance_of_independent_votes():
    check_majority_has_the_chance_of_independent_votes()


def test_votes_that_are_all_equal_are_noticed(monkeypatch):
    draw = MajorityVote._draw
    monkeypatch.setattr(MajorityVote, "_draw", lambda *args: draw(*args)[:1].expand(5, -1))
    with pytest.raises(AssertionError):
        check_majority_has_the_chance_of_independent_votes()


def asked(calls, *, samples=3, rows=None, jitter=None, identities=None, spent=None, seed=0):
    """Return what the model is asked, sorted by input and by the order in which each input's questions come."""
    seen = []
    oracle = hard(of_bright, samples=samples, rows=rows)
    label = oracle.label
    oracle.label = lambda x, owners: seen.append((x.clone(), owners)) or label(x, owners)
    if spent is not None:
        oracle.meter.per_sample.copy_(torch.tensor(spent))
    wrapped = MajorityVote(oracle, jitter or NaturalJitter(), votes=3, seed=seed, identities=identities)
    for x, owners in calls:
        wrapped.label(x, torch.tensor(owners))
    owners = torch.cat([part for _, part in seen])
    return torch.cat([part for part, _ in seen])[owners.argsort(stable=True)]


def check_questions_do_not_depend_on_their_cut():
    x = points(7)
    owners = [0, 1, 1, 2, 0, 1, 2]
    whole = asked([(x, owners)])
    alone = asked([(x[row : row + 1], owners[row : row + 1]) for row in range(7)])
    assert torch.equal(whole, alone)
    for rows in (1, 2, 4, 6, 100):
        assert torch.equal(whole, asked([(x[:3], owners[:3]), (x[3:], owners[3:])], rows=rows))


def check_every_answer_is_jittered_anew():
    """Also where one point is asked twice for one input, in one call or in two."""
    x = points(1).expand(2, *SHAPE)
    for calls in ([(x, [0, 0])], [(x[:1], [0]), (x[:1], [0])]):
        first, second = asked(calls, samples=1).split(3)
        assert not torch.equal(first, second)
        assert not torch.equal(first[0], first[1])


def test_questions_do_not_depend_on_their_cut():
    check_questions_do_not_depend_on_their_cut()


def test_every_answer_is_jittered_anew():
    check_every_answer_is_jittered_anew()


@pytest.mark.parametrize(
    ("passage", "replacement", "check"),
    [
        (r"self\.queries_per_answer \* rank", "0 * rank", check_every_answer_is_jittered_anew),
        (r"self\.meter\.per_sample\[samples\] \+", "0 +", check_every_answer_is_jittered_anew),
        (r"- \(wanted\.cumsum\(0\) - wanted\)\[samples\[order\]\]", "", check_questions_do_not_depend_on_their_cut),
    ],
)
def test_a_jitter_that_forgets_its_place_is_noticed(monkeypatch, mutant, passage, replacement, check):
    monkeypatch.setitem(globals(), "MajorityVote", mutant(voting, passage, replacement).MajorityVote)
    with pytest.raises(AssertionError):
        check()


def test_identities_and_the_seed_name_the_stream():
    x = points(2)
    both = asked([(x, [0, 1])], samples=2, identities=[7, 9])
    assert torch.equal(both.flip(0).view(2, 3, *SHAPE).flip(1).flatten(0, 1), _swapped(x))
    assert not torch.equal(both, asked([(x, [0, 1])], samples=2, identities=[7, 8]))
    assert not torch.equal(both, asked([(x, [0, 1])], samples=2, identities=[7, 9], seed=1))


def _swapped(x):
    return asked([(x.flip(0), [0, 1])], samples=2, identities=[9, 7])


def test_a_restored_meter_goes_on_with_the_same_jitter():
    x = points(4)
    whole = asked([(x, [0, 0, 0, 0])], samples=1)
    assert torch.equal(whole[6:], asked([(x[2:], [0, 0])], samples=1, spent=[6]))


def test_every_vote_is_counted_and_the_rest_of_the_budget_stays():
    oracle = hard(of_bright, budget=11, samples=2)
    wrapped = MajorityVote(oracle, TINY, votes=3, seed=0)
    assert wrapped.remaining().tolist() == [3, 3]
    assert wrapped.label(points(3), torch.tensor([1, 0, 1])).shape == (3,)
    assert oracle.meter.per_sample.tolist() == [3, 6]
    assert wrapped.remaining().tolist() == [2, 1]
    with pytest.raises(BudgetError, match="input 1 can have 1 more answers of 3 queries; 2 were asked for; nothing"):
        wrapped.label(points(3), torch.tensor([0, 1, 1]))
    assert oracle.meter.per_sample.tolist() == [3, 6]
    assert wrapped.label(points(0), torch.empty(0, dtype=torch.int64)).tolist() == []
    assert (wrapped.budget, wrapped.meter is oracle.meter, wrapped.num_classes) == (11, True, 2)
    assert wrapped.description == "majority of 3 votes, gaussian:1e-09, seed 0"
    twice = MajorityVote(Rounded(oracle, levels=4), TINY, votes=3, seed=0)
    assert twice.description == "majority of 3 votes, gaussian:1e-09, seed 0, rounded to 4 levels"


@pytest.mark.parametrize(("rows", "votes", "preferred"), [(64, 9, 7), (8, 9, 1), (9, 9, 1), (1, 4, 1)])
def test_questions_are_cut_to_what_the_oracle_prefers(rows, votes, preferred):
    recorder = RecordingModel(of_bright)
    wrapped = MajorityVote(hard(recorder.predict, rows=rows), TINY, votes=votes, seed=0)
    assert wrapped.preferred_rows == preferred
    wrapped.label(points(20), torch.zeros(20, dtype=torch.int64))
    assert recorder.rows == 20 * votes
    assert max(len(part) for part in recorder._questions) <= rows


def test_around_another_wrapper_all_queries_count():
    oracle = hard(of_bright, budget=20, samples=1)
    inner = MajorityVote(Rounded(oracle), NaturalJitter(), votes=2, seed=0)
    outer = MajorityVote(inner, TINY, votes=3, seed=1)
    assert (inner.queries_per_answer, outer.queries_per_answer) == (2, 6)
    assert outer.remaining().tolist() == [3]
    outer.label(points(2), torch.zeros(2, dtype=torch.int64))
    assert oracle.meter.per_sample.tolist() == [12]
    assert outer.remaining().tolist() == [1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MajorityVote(hard(of_bright), TINY, votes=0, seed=0), "votes must be at least 1; got 0"),
        (
            lambda: MajorityVote(hard(of_bright, budget=8), TINY, votes=9, seed=0),
            "an answer takes 9 queries, and the budget is 8 per input",
        ),
        (
            lambda: MajorityVote(hard(of_bright), TINY, votes=1, seed=0, identities=[1, 2]),
            "identities must be 3 integers, one an input of the oracle; got 2",
        ),
        (
            lambda: MajorityVote(hard(of_bright, shape=(30,)), NaturalJitter(), votes=1, seed=0),
            "natural jitter takes images",
        ),
    ],
)
def test_mistakes_of_set_up(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "samples", "message"),
    [
        (points(2), torch.tensor([0]), r"must be int64 of shape \(2,\); got torch.int64 \(1,\)"),
        (points(1), torch.tensor([0.0]), "got torch.float32"),
        (points(1), torch.tensor([3]), "from 0 to 2; got 3 to 3"),
        (points(1), torch.tensor([-1]), "from 0 to 2; got -1 to -1"),
        (points(1) + 1.0, torch.tensor([0]), "must lie in"),
        (points(1) / 0.0, torch.tensor([0]), "must be finite"),
        (points(1, shape=(5, 6)), torch.tensor([0]), r"must have shape \(N, 1, 6, 5\)"),
    ],
)
def test_bad_questions_are_refused_before_they_are_clipped(x, samples, message):
    oracle = hard(of_bright)
    with pytest.raises(InputError, match=message):
        MajorityVote(oracle, GaussianJitter(0.1), votes=3, seed=0).label(x, samples)
    assert oracle.meter.total == 0


@pytest.fixture
def voted(monkeypatch):
    """Let the attack contract's runs go through votes."""
    run = attack_contract.run_attack

    def through_votes(attack, oracle, *args, **kwargs):
        wrapped = MajorityVote(oracle, GaussianJitter(0.004), votes=3, seed=5, identities=kwargs["identities"])
        return run(attack, wrapped, *args, **kwargs)

    monkeypatch.setattr(attack_contract, "run_attack", through_votes)


KEPT = [
    "points_stay_in_bounds",
    "batch_does_not_matter",
    "seeds",
    "nothing_else_is_touched",
    "units_do_not_matter",
    "empty_batch",
    "trajectory",
    "progress",
    "resume",
    "interrupted_progress",
]  # the others ask for the answer to the point itself, or count one query an answer


@pytest.mark.parametrize("check", KEPT)
def test_an_attack_keeps_its_contract_through_votes(voted, check):
    ATTACK_CHECKS[check](HopSkipJump())


def test_without_identities_the_batch_would_matter(monkeypatch):
    run = attack_contract.run_attack
    monkeypatch.setattr(
        attack_contract,
        "run_attack",
        lambda attack, oracle, *args, **kwargs: run(
            attack, MajorityVote(oracle, GaussianJitter(0.004), votes=3, seed=5), *args, **kwargs
        ),
    )
    with pytest.raises(AssertionError, match="batch"):
        ATTACK_CHECKS["batch_does_not_matter"](HopSkipJump())


def test_the_budget_is_kept(voted):
    """Whatever it leaves over the votes, and wherever in the attack it ends."""
    model = LinearClassifier(SHAPE)
    inputs = model.inputs(3, distance=0.15, norm=Norm.L2)
    for budget in (*range(3, 60), *range(60, 500, 37)):
        recorder = RecordingModel(model.predict)
        result = attack_closed_form(HopSkipJump(), model, inputs, budget=budget, recorder=recorder)
        assert result.error is None
        assert int(result.queries.max()) <= budget
        assert bool((result.queries % 3 == 0).all())
        assert recorder.rows == int(result.queries.sum())
        for status, success in zip(result.status, result.success.tolist(), strict=True):
            assert status is (Status.SUCCESS if success else Status.BUDGET_EXHAUSTED)


def test_budgets_that_differ_by_less_than_a_vote_give_one_result(voted):
    model = LinearClassifier(SHAPE)
    inputs = model.inputs(3, distance=0.15, norm=Norm.L2)
    results = [attack_closed_form(HopSkipJump(), model, inputs, budget=budget) for budget in (600, 601, 602)]
    for one, other in pairwise(results):
        assert torch.equal(one.adversarials, other.adversarials)
        assert torch.equal(one.queries, other.queries)


def test_natural_jitter_is_batch_invariant_in_an_attack():
    model = LinearClassifier((3, 8, 8))
    inputs = model.inputs(3, distance=0.15, norm=Norm.L2)

    def run(rows):
        oracle = hard(model.predict, samples=len(rows), shape=(3, 8, 8), budget=900)
        wrapped = MajorityVote(oracle, NaturalJitter(), votes=3, seed=0, identities=rows)
        return attack_contract.run_attack(
            HopSkipJump(), wrapped, inputs[rows], model.predict(inputs[rows]), seed=0, identities=rows
        )

    whole = run([0, 1, 2])
    for rows in ([1], [2, 0]):
        part = run(rows)
        assert torch.equal(part.adversarials, whole.adversarials[rows])
        assert torch.equal(part.queries, whole.queries[rows])


def test_a_checkpoint_of_other_votes_is_refused(tmp_path):
    model = LinearClassifier(SHAPE)
    inputs = model.inputs(2, distance=0.15, norm=Norm.L2)

    def attack(seed):
        oracle = MajorityVote(hard(model.predict, samples=2, budget=300), TINY, votes=3, seed=seed)
        return run_attack(
            HopSkipJump(), oracle, inputs, model.predict(inputs), seed=0, checkpoint=tmp_path / "state.safetensors"
        )

    attack(1)
    attack(1)
    with pytest.raises(VerificationError, match="belongs to another attack"):
        attack(2)
