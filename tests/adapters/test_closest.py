"""What an attack has asked, and the closest adversarial among it."""

# ruff: noqa: NPY002 - the libraries draw from the legacy generators
import random

import numpy as np
import pytest
import torch

from variegate.adapters.closest import (
    BudgetSpentError,
    ClosestPoints,
    ClosestSeen,
    WatchedOracle,
    query_marks,
    with_closest,
)
from variegate.adapters.library import LibraryAttack, seeded_libraries
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.errors import ConfigurationError
from variegate.oracles.hard_label import HardLabelOracle, Misclassified
from variegate.testing.closed_form import LinearClassifier, RecordingModel
from variegate.types import Norm, Status

SHAPE = (3, 4)


def problem(count=3):
    model = LinearClassifier(SHAPE)
    return model, model.inputs(count, distance=0.2, norm=Norm.L2)


def oracle_of(predict, *, samples=3, budget=120, model=None):
    return HardLabelOracle(
        predict, input_shape=SHAPE, bounds=(model or problem()[0]).bounds, num_classes=2, samples=samples, budget=budget
    )


class TestClosestPoints:
    @pytest.mark.parametrize("norm", list(Norm))
    def test_against_a_slow_reference(self, norm):
        generator = torch.Generator().manual_seed(3)
        inputs = torch.rand((4, *SHAPE), generator=generator)
        closest = ClosestPoints(inputs, norm=norm, checkpoints=(2, 5, 9, 40))
        asked, rows = [0] * 4, []
        for _ in range(12):
            samples = torch.randint(0, 4, (6,), generator=generator)
            x = torch.rand((6, *SHAPE), generator=generator)
            hit = torch.rand(6, generator=generator) < 0.4
            numbers = []
            for sample in samples.tolist():
                asked[sample] += 1
                numbers.append(asked[sample])
            closest.add(x, hit, samples, torch.tensor(numbers))
            rows += zip(samples.tolist(), numbers, hit.tolist(), x, strict=True)
        order = 2 if norm is Norm.L2 else float("inf")
        for sample in range(4):
            mine = [
                (float(torch.linalg.vector_norm((x - inputs[sample]).flatten(), order)), number, x)
                for s, number, hit, x in rows
                if s == sample and hit
            ]
            best = min(mine, key=lambda one: one[0])
            assert float(closest.sizes[sample]) == pytest.approx(best[0], rel=1e-6)
            assert torch.equal(closest.points[sample], best[2])
            for place, checkpoint in enumerate(closest.checkpoints):
                within = [size for size, number, _ in mine if number <= checkpoint]
                assert float(closest.within()[place, sample]) == pytest.approx(min(within, default=float("inf")))

    def test_of_equals_the_first(self):
        closest = ClosestPoints(torch.zeros(1, 2), norm=Norm.L2, checkpoints=(5,))
        x = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        closest.add(x, torch.tensor([True, True]), torch.tensor([0, 0]), torch.tensor([1, 2]))
        assert closest.points.tolist() == [[0.0, 1.0]]

    @pytest.mark.parametrize("checkpoints", [(), (0, 5), (5, 5), (5, 2)], ids=str)
    def test_bad_checkpoints(self, checkpoints):
        with pytest.raises(ConfigurationError, match="ascending numbers of queries"):
            ClosestPoints(torch.zeros(1, 2), norm=Norm.L2, checkpoints=checkpoints)

    @pytest.mark.parametrize("budget", [1, 10, 300, 10**6])
    def test_marks_end_with_the_budget(self, budget):
        marks = query_marks(budget)
        assert marks[-1] == budget
        assert list(marks) == sorted(set(marks))


class TestWatchedOracle:
    def test_it_changes_nothing_and_never_finds_worse(self):
        model, inputs = problem()
        labels = model.predict(inputs)
        plain = run_attack(HopSkipJump(), oracle_of(model.predict), inputs, labels, seed=1)
        watched = WatchedOracle(oracle_of(model.predict), inputs, Misclassified(labels))
        result = run_attack(HopSkipJump(), watched, inputs, labels, seed=1)
        assert torch.equal(plain.adversarials, result.adversarials)
        assert torch.equal(plain.queries, result.queries)
        closest = with_closest(result, watched)
        assert closest.status == (Status.SUCCESS,) * 3
        assert bool((closest.distances <= result.distances).all())
        assert bool((model.predict(closest.adversarials) != labels).all())
        sizes = (closest.adversarials - inputs).flatten(1).norm(dim=1)
        assert torch.allclose(sizes, closest.distances, atol=1e-6)
        assert torch.equal(closest.trajectory.distances[-1], closest.distances)
        assert bool((closest.trajectory.distances.diff(dim=0)[1:].nan_to_num() <= 0).all())

    def test_what_was_wrong_already_is_no_adversarial(self):
        model, inputs = problem()
        wrong = 1 - model.predict(inputs)
        watched = WatchedOracle(oracle_of(model.predict), inputs, Misclassified(wrong))
        result = with_closest(run_attack(HopSkipJump(), watched, inputs, wrong, seed=1), watched)
        assert result.status == (Status.ALREADY_MISCLASSIFIED,) * 3
        assert not bool(result.success.any())

    def test_votes_are_counted_in_labels(self):
        model, inputs = problem(1)

        class Twice:
            """Spends two labels on an answer."""

            def __init__(self, oracle):
                self.__dict__.update(vars(oracle))
                self.oracle = oracle

            def remaining(self):
                return self.oracle.remaining() // 2

            def label(self, x, samples):
                self.oracle.label(x, samples)
                return self.oracle.label(x, samples)

        labels = model.predict(inputs)
        watched = WatchedOracle(
            Twice(oracle_of(model.predict, samples=1)), inputs, Misclassified(labels), checkpoints=(3, 4, 120)
        )
        across = inputs + model.normal.float().view(1, *SHAPE)
        watched.label(torch.cat([inputs, across]).clamp(0, 1), torch.tensor([0, 0]))
        assert watched.closest.within()[:, 0].isfinite().tolist() == [False, True, True]

    def test_a_budget_or_checkpoints(self):
        model, inputs = problem()
        with pytest.raises(ConfigurationError, match="watched at checkpoints"):
            WatchedOracle(oracle_of(model.predict, budget=None), inputs, Misclassified(model.predict(inputs)))


class TestClosestSeen:
    def test_the_budget_is_kept_to_the_row(self):
        model, inputs = problem(1)
        recorder = RecordingModel(model.predict)
        classifier = model.classifier()
        classifier.predict = recorder.predict
        seen = ClosestSeen(classifier, inputs[0], 0, (4, 10))
        step = 0.5 * model.normal.float().view(1, *SHAPE)
        scores = seen(torch.cat([inputs, inputs + step, inputs]).double())
        assert scores.dtype is torch.float32
        assert scores.argmax(1).tolist() == [0, 1, 0]
        with pytest.raises(BudgetSpentError):
            seen.predict(inputs.expand(9, *SHAPE))
        assert (seen.queries, recorder.rows) == (10, 10)
        with pytest.raises(BudgetSpentError):
            seen(inputs)
        assert recorder.rows == 10
        size = float(((inputs + step).clamp(0, 1) - inputs).norm())
        assert seen.closest == pytest.approx([size, size])

    def test_rows_outside_are_clipped(self):
        model, inputs = problem(1)
        recorder = RecordingModel(model.predict)
        classifier = model.classifier()
        classifier.predict = recorder.predict
        ClosestSeen(classifier, inputs[0], 0, (4,)).predict(inputs * 0 + 7.0)
        assert float(recorder.questions.max()) == 1.0


class TestSeeds:
    def test_generators_are_put_back(self):
        kind = np.random.RandomState
        before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
        with pytest.raises(ZeroDivisionError), seeded_libraries(3):
            first = [random.random(), np.random.rand(), np.random.RandomState().rand(), float(torch.rand(()))]
            assert isinstance(np.random.RandomState(5), kind)
            raise ZeroDivisionError
        assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
        assert np.random.RandomState is kind
        with seeded_libraries(3):
            again = [random.random(), np.random.rand(), np.random.RandomState().rand(), float(torch.rand(()))]
            assert np.random.RandomState().rand() != again[2]
        with seeded_libraries(4):
            other = [random.random(), np.random.rand(), np.random.RandomState().rand(), float(torch.rand(()))]
        assert first == again
        assert all(one != two for one, two in zip(again, other, strict=True))


def test_rules_have_names():
    with pytest.raises(ConfigurationError, match='rule must be "closest" or "returned"'):
        LibraryAttack(library="l", attack="a", settings="", run=lambda _image, question: question.clean, rule="best")
