"""One attack: its files, its failures, its targets, its speed."""

import json
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import pytest
import torch

from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.data.images import LabelledImages
from variegate.errors import InputError, OracleError
from variegate.evaluation import kept as adversarial_files
from variegate.experiments import attack as single_attack
from variegate.experiments.attack import SingleAttack
from variegate.testing.closed_form import LinearClassifier
from variegate.types import InputSpec, Norm


class Halves:
    num_classes = 2
    input_spec = InputSpec((1, 1, 2))
    input_shape, bounds = input_spec.shape, input_spec.bounds

    def predict(self, x):
        return (x[:, 0, 0, 0] > 0.5).long()


def run(pool, out, target=None, **changes):
    values = {
        "command": "test",
        "target_name": "halves",
        "target_digest": "none",
        "attack": HopSkipJump(),
        "images": 3,
        "queries": 120,
        "targeted": False,
        "seed": 1,
    }
    return SingleAttack(**{**values, **changes}).run(target or Halves(), pool, out=out).to_dict()


def pool():
    images = np.array([[0.2, 0.5], [0.7, 0.1], [0.3, 0.3]], np.float32).reshape(3, 1, 1, 2)
    return LabelledImages(images=images, labels=np.array([0, 1, 0]), class_names=("low", "high"), name="points")


def test_arrays_hold_what_numpy_1_takes_too(tmp_path, monkeypatch):
    """NumPy 1.26 has no option `allow_pickle` here and would save it as an array."""
    torch.set_num_threads(1)
    given, save = [], np.savez_compressed

    def remember(file, **arrays):
        given.append(arrays)
        save(file, **arrays)

    monkeypatch.setattr(adversarial_files.np, "savez_compressed", remember)
    summary = run(pool(), tmp_path)
    assert summary["outcome"]["succeeded"] == 3
    assert all(isinstance(array, np.ndarray) for arrays in given for array in arrays.values())
    with np.load(tmp_path / "adversarials.npz", allow_pickle=False) as arrays:
        assert any(sorted(arrays.files) == sorted(names) for names in given)
        assert arrays["adversarial_label"].tolist() == [1, 0, 1]


class Failing(Halves):
    """Fails from some moment on when it is asked for so many inputs, or for any."""

    def __init__(self, rows=None):
        self.fails, self.rows = False, rows

    def predict(self, x):
        if self.fails and self.rows in (None, len(x)):
            raise RuntimeError("out of memory")
        return super().predict(x)


@pytest.fixture
def fail_after(monkeypatch):
    """Let a target fail once the attack has come to its end."""

    def wanted(target):
        measure = single_attack.with_overshoot

        def measured(*arguments, **options):
            target.fails = True
            return measure(*arguments, **options)

        monkeypatch.setattr(single_attack, "with_overshoot", measured)
        return target

    return wanted


def mixed():
    """Three inputs, of which one is misclassified: two successes, but three labels of results."""
    given = pool()
    return LabelledImages(
        images=given.images, labels=np.array([0, 1, 1]), class_names=given.class_names, name=given.name
    )


@pytest.mark.parametrize(("rows", "measured"), [(None, False), (2, False), (3, True)])
def test_a_target_that_fails_after_the_attack_leaves_what_was_found(tmp_path, fail_after, rows, measured):
    record = run(mixed(), tmp_path, fail_after(Failing(rows)))
    assert "the attack is done, but its results are not measured: the model behind" in record["error"]
    assert "out of memory" in record["error"]
    assert record == json.loads((tmp_path / "record.json").read_text())
    assert record["outcome"]["succeeded"] == 2
    assert record["outcome"]["status"] == {"success": 2, "already_misclassified": 1}
    assert ("overshoot" in record["outcome"]) is measured
    assert record["outcome"]["confirmed"]["rate"] == (1.0 if measured else None)
    with np.load(tmp_path / "adversarials.npz") as arrays:
        assert arrays["adversarial_label"].tolist() == [-1, -1, -1]
        assert np.isfinite(arrays["distance"]).tolist() == [True, True, False]
        assert np.abs(arrays["adversarial"] - arrays["clean"])[:2].max() > 0.1
    again = run(mixed(), tmp_path)
    assert again["error"] is None
    assert again["outcome"]["confirmed"]["k"] == again["outcome"]["succeeded"] == 2
    assert again["outcome"]["distances"] == record["outcome"]["distances"]


class FailingPlane(Failing):
    """The same with scores and gradients."""

    def __init__(self, model):
        super().__init__()
        self.classifier = model.classifier()
        self.device, self.num_classes = self.classifier.device, self.classifier.num_classes
        self.input_spec = self.classifier.input_spec
        self.input_shape, self.bounds = self.input_spec.shape, self.input_spec.bounds
        self.scores, self.differentiable_scores = self.classifier.scores, self.classifier.differentiable_scores

    def predict(self, x):
        if self.fails:
            raise RuntimeError("out of memory")
        return self.classifier.predict(x)


def test_a_white_box_attack_whose_results_cannot_be_measured(tmp_path, fail_after):
    model = LinearClassifier((1, 4, 4))
    images = model.inputs(3, distance=0.1, norm=Norm.L2)
    labels = model.predict(images).numpy()
    given = LabelledImages(images=images.numpy(), labels=labels, class_names=("a", "b"), name="plane")
    record = run(given, tmp_path, fail_after(FailingPlane(model)), attack=DeepFool(), queries=None)
    assert record["error"].endswith("failed on 3 inputs: out of memory")
    assert record["outcome"]["succeeded"] == 3
    assert record["outcome"]["backward_rows"]["total"] > 0
    assert (tmp_path / "adversarials.npz").exists()


def test_a_target_that_fails_before_a_targeted_attack(tmp_path):
    target = Failing()
    target.fails = True
    with pytest.raises(OracleError, match="failed on 3 inputs: out of memory"):
        run(pool(), tmp_path, target, targeted=True)


class Thirds(Halves):
    """Four classes, of which the pool holds as many as it has values."""

    num_classes = 4

    def predict(self, x):
        return (x[:, 0, 0, 0] * 4.0).long().clamp_max(3)


def values(*places):
    images = np.array([[place, 0.5] for place in places], np.float32).reshape(-1, 1, 1, 2)
    labels = np.array([int(4 * place) for place in places])
    return LabelledImages(images=images, labels=labels, class_names=tuple("abcd"), name="values")


def aims(given, **changes):
    attacked = []

    def remember(*arguments, targets, starting_points, **options):
        attacked.append((targets, starting_points))
        raise StopIteration

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopIteration):
        patch.setattr(single_attack, "run_attack", remember)
        run(given, None, Thirds(), targeted=True, images=len(given.labels), **changes)
    return attacked[0]


def test_targets_are_classes_that_have_an_image_to_start_from():
    given = values(*[0.1] * 20, *[0.4] * 20, *[0.9] * 20)
    targets, starts = aims(given)
    assert set(targets.tolist()) == {0, 1, 3}  # of class 2 there is none
    assert not bool((targets == torch.from_numpy(given.labels)).any())
    assert torch.equal(Thirds().predict(starts), targets)


def test_targets_of_a_pool_with_all_classes_are_drawn_as_ever():
    given = values(*[0.1, 0.3, 0.6, 0.9] * 3)
    shifts = np.random.default_rng(1).integers(1, 4, 12)
    assert aims(given)[0].tolist() == ((given.labels + shifts) % 4).tolist()


def test_targets_of_a_pool_with_one_class(tmp_path):
    with pytest.raises(InputError, match="the target puts all 3 images into class 0: give more images"):
        run(values(0.1, 0.2, 0.15), tmp_path, Thirds(), targeted=True)


def test_the_targets_own_speed_is_measured_outside_of_the_budget(tmp_path):
    class Counted(Halves):
        """Counts rows."""

        rows = 0

        def predict(self, x):
            Counted.rows += len(x)
            return super().predict(x)

    record = run(pool(), tmp_path, Counted())
    speed = record["efficiency"]
    assert speed["raw_queries_per_second"] > 0
    assert speed["share_of_raw"] == pytest.approx(
        speed["queries_per_second"] / speed["raw_queries_per_second"], rel=1e-2, abs=1e-4
    )
    assert max(record["outcome"]["queries"].values()) <= 3 * 120
    assert Counted.rows > record["outcome"]["queries"]["total"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """A hard-label attack of another package that has a method `run` besides."""

    revision: ClassVar[int] = 1

    inner: HopSkipJump

    @property
    def name(self):
        return "runs"

    @property
    def norm(self):
        return Norm.L2

    def init(self, oracle, problem, status):
        return self.inner.init(oracle, problem, status)

    def step(self, oracle, problem, state):
        return self.inner.step(oracle, problem, state)

    def run(self):
        raise RuntimeError("nobody calls this")


def test_a_method_called_run_makes_no_white_box_attack(tmp_path):
    record = run(pool(), tmp_path, attack=Runs(inner=HopSkipJump()))
    assert record["attack"]["kind"] == "hard_label"
    assert record["outcome"]["succeeded"] == 3
