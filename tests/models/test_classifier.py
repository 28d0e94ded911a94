"""A classifier answers the same for any batch, takes what a seller has, and refuses what it cannot use."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from variegate.errors import InputError, ModelError, NotFoundError
from variegate.models.classifier import Classifier, check_inputs, full_precision, weights_digest
from variegate.testing.seller import small_classifier
from variegate.types import Bounds, InputSpec


def linear(size=6, n=3, seed=0):
    module = nn.Sequential(nn.Flatten(), nn.Linear(size, n))
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return module


def inputs(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class WithBatchNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(4 * 16, 3)

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64])
def test_scores_do_not_depend_on_the_micro_batch(batch_size):
    x = inputs(11, 6)
    classifier = Classifier(linear(), input_shape=(6,), labels=3, batch_size=batch_size)
    expected = linear()(x).softmax(1).detach()
    torch.testing.assert_close(classifier.scores(x), expected, atol=1e-6, rtol=0)
    assert torch.equal(classifier.predict(x), expected.argmax(1))
    torch.testing.assert_close(classifier.logits(x).softmax(1), expected, atol=1e-6, rtol=0)
    assert classifier.scores(x).dtype is torch.float32
    assert classifier.predict(x).dtype is torch.int64


def test_no_inputs_give_no_rows():
    classifier = Classifier(linear(), input_shape=(6,), labels=3)
    assert classifier.scores(torch.empty(0, 6)).shape == (0, 3)
    assert classifier.predict(torch.empty(0, 6)).shape == (0,)
    assert classifier.logits(torch.empty(0, 6)).shape == (0, 3)


def test_evaluation_mode_and_frozen_parameters():
    module = WithBatchNorm().train()
    classifier = Classifier(module, input_shape=(2, 4, 4), labels=3)
    x = inputs(5, 2, 4, 4)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    before = weights_digest(module)
    first = classifier.scores(x)
    assert torch.equal(classifier.scores(x), first)  # no dropout
    torch.testing.assert_close(torch.cat([classifier.scores(row[None]) for row in x]), first, atol=1e-6, rtol=0)
    assert weights_digest(module) == before  # no running statistics
    assert not first.requires_grad


@pytest.mark.parametrize("which", ["", "features", "features.3"])
def test_evaluation_mode_is_kept_whatever_is_called_later(which):
    classifier = Classifier(WithBatchNorm(), input_shape=(2, 4, 4), labels=3)
    x = inputs(5, 2, 4, 4)
    before, first = weights_digest(classifier.module), classifier.scores(x)
    for call in (classifier.scores, classifier.differentiable_scores):
        classifier.module.get_submodule(which).train()
        assert torch.equal(call(x), first)
        assert not any(module.training for module in classifier.module.modules())
    classifier.module.get_submodule(which).train()
    assert torch.equal(next(classifier.scores_and_features(x, []))[1], first)
    classifier.module.get_submodule(which).train()
    assert torch.equal(classifier.predict(x), first.argmax(1))
    assert weights_digest(classifier.module) == before


def test_rows_of_a_forward_pass_follow_from_the_device_and_the_size(monkeypatch):
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    large = Classifier(pooled, input_shape=(3, 224, 224), labels=2)
    small, said = (Classifier(linear(), input_shape=(6,), labels=3, batch_size=rows) for rows in (None, 7))
    assert (large.batch_size, small.batch_size, said.batch_size) == (64, 64, 7)
    monkeypatch.setattr(Classifier, "device", property(lambda _: torch.device("cuda")))
    assert (large.batch_size, small.batch_size, said.batch_size) == (64, 512, 7)


class Conversions(TorchDispatchMode):
    """Notes how large the tensors are that are converted or moved."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default:
            self.sizes.append(args[0].numel())
        return func(*args, **(kwargs or {}))


def test_inputs_are_moved_in_micro_batches():
    classifier = Classifier(linear(), input_shape=(6,), labels=3, batch_size=4)
    x = inputs(10, 6).double()
    with Conversions() as conversions:
        classifier.predict(x)
    assert conversions.sizes == [24, 24, 12]


def test_forward_passes_are_in_full_precision(monkeypatch):
    seen = []

    class Asking(nn.Module):
        def forward(self, x):
            seen.append(torch.backends.cudnn.conv.fp32_precision)
            return x.flatten(1)[:, :3]

    classifier = Classifier(Asking(), input_shape=(6,), labels=3)
    monkeypatch.setattr("variegate.models.classifier.full_precision", lambda _: full_precision("cuda"))
    seen.clear()
    for call in (classifier.scores, classifier.predict, classifier.differentiable_logits):
        call(inputs(2, 6))
    assert seen == ["ieee"] * 3


def test_float64_and_float16_weights_become_float32():
    for dtype in (torch.float64, torch.float16):
        classifier = Classifier(linear().to(dtype), input_shape=(6,), labels=3)
        assert classifier.scores(inputs(2, 6)).dtype is torch.float32
        assert {parameter.dtype for parameter in classifier.module.parameters()} == {torch.float32}
    assert classifier.scores(inputs(2, 6).double()).dtype is torch.float32


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.25,)), ((0.1, 0.2), (0.3, 0.4))])
def test_normalisation_is_folded_in(mean, std):
    module = linear(size=2 * 3)
    classifier = Classifier(module, input_shape=(2, 3), labels=3, mean=mean, std=std)
    x = inputs(4, 2, 3)
    by_hand = (x - torch.tensor(mean).view(1, -1, 1)) / torch.tensor(std).view(1, -1, 1)
    torch.testing.assert_close(classifier.logits(x), module(by_hand), atol=1e-5, rtol=0)


@pytest.mark.gpu
def test_a_module_on_a_gpu_is_taken_there():
    """As at the end of a training, with a normalisation that is written on the CPU."""
    x = inputs(5, 6)
    here = Classifier(linear(), input_shape=(6,), labels=3, mean=[0.4], std=[0.2])
    there = Classifier(linear().cuda(), input_shape=(6,), labels=3, mean=[0.4], std=[0.2])
    assert there.device.type == "cuda"
    torch.testing.assert_close(there.scores(x).cpu(), here.scores(x), rtol=0, atol=1e-6)


def test_probabilities_become_log_probabilities():
    module = nn.Sequential(linear(), nn.Softmax(1))
    classifier = Classifier(module, input_shape=(6,), labels=3, outputs="probabilities")
    x = inputs(5, 6)
    torch.testing.assert_close(classifier.scores(x), module(x).detach(), atol=1e-6, rtol=0)

    class Certain(nn.Module):
        def forward(self, x):
            return torch.eye(3)[torch.zeros(len(x), dtype=torch.int64)]

    certain = Classifier(Certain(), input_shape=(6,), labels=3, outputs="probabilities")
    assert bool(certain.logits(x).isfinite().all())  # log 0 is not infinite here
    assert certain.scores(x)[0].tolist() == pytest.approx([1.0, 0.0, 0.0])


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 4, 4)])
@pytest.mark.parametrize("bounds", [Bounds(), Bounds(-1.0, 1.0), Bounds(0.0, 255.0)])
def test_any_rank_and_bounds(shape, bounds):
    classifier = small_classifier(input_shape=shape, bounds=bounds, num_classes=4)
    x = bounds.lower + bounds.range * inputs(3, *shape)
    assert classifier.scores(x).shape == (3, 4)
    torch.testing.assert_close(classifier.scores(x).sum(1), torch.ones(3))
    assert classifier.bounds == bounds


def test_gradients_are_those_of_the_module():
    classifier = Classifier(linear(), input_shape=(6,), labels=3)
    x = inputs(2, 6).requires_grad_()
    (slope,) = torch.autograd.grad(classifier.differentiable_logits(x)[:, 1].sum(), x)
    torch.testing.assert_close(slope, linear()[1].weight[1].detach().expand(2, 6))
    assert torch.equal(classifier.differentiable_scores(x).detach(), classifier.scores(x.detach()))


def test_channels_last_is_not_seen_from_outside():
    module = WithBatchNorm()
    x = inputs(9, 2, 4, 4)
    expected = module.eval()(x).detach()
    classifier = Classifier(module, input_shape=(2, 4, 4), labels=3)
    torch.testing.assert_close(classifier.logits(x), expected, atol=1e-5, rtol=1e-4)

    class Viewing(nn.Module):  # view() fails on channels-last memory
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.conv(x).view(len(x), -1))

    viewing = Viewing()
    expected = viewing.eval()(x).detach()
    torch.testing.assert_close(Classifier(viewing, input_shape=(2, 4, 4), labels=3).logits(x), expected)


def test_features_by_layer():
    classifier = Classifier(WithBatchNorm(), input_shape=(2, 4, 4), labels=3, batch_size=4)
    x = inputs(6, 2, 4, 4)
    parts = list(classifier.scores_and_features(x, ["features.0", "head"]))
    assert [len(part) for part, _, _ in parts] == [4, 2]
    assert {name: value.shape for name, value in parts[1][2].items()} == {"features.0": (2, 64), "head": (2, 3)}
    torch.testing.assert_close(torch.cat([scores for _, scores, _ in parts]), classifier.scores(x))
    torch.testing.assert_close(parts[0][2]["head"], classifier.logits(x)[:4])
    assert not classifier.module.head._forward_hooks  # nothing stays behind
    with pytest.raises(NotFoundError, match="no layer 'neck'; it has features, features.0"):
        list(classifier.scores_and_features(x, ["neck"]))


def test_labels():
    assert Classifier(linear(), input_shape=(6,), labels=3).labels == ("class 0", "class 1", "class 2")
    assert Classifier(linear(), input_shape=(6,), labels=["a", "b", "c"]).labels == ("a", "b", "c")


def test_digest_covers_names_types_shapes_and_values():
    first = Classifier(linear(), input_shape=(6,), labels=3).digest
    assert first == Classifier(linear(), input_shape=(6,), labels=3).digest
    assert first.startswith("sha256:")
    changed = linear()
    changed[1].bias.data[0] += 1e-6
    renamed = nn.Sequential(nn.Flatten(), nn.Identity(), linear()[1])
    others = {weights_digest(changed), weights_digest(renamed), weights_digest(linear().double())}
    assert len(others | {first}) == 4
    assert weights_digest(linear().half()) != weights_digest(linear().bfloat16())
    assert weights_digest(nn.BatchNorm1d(3)) == weights_digest(nn.BatchNorm1d(3))  # holds a scalar integer
    assert Classifier(linear(), input_shape=(6,), labels=3, digest="sha256:given").digest == "sha256:given"


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return torch.full((len(x), 3), self.value)


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (linear(), {"labels": 4}, r"must return \(2, 4\) for 2 inputs; got \(2, 3\); check the labels"),
        (linear(), {"labels": 1}, "at least 2 classes; got 1"),
        (linear(), {"labels": []}, "at least 2 classes; got 0"),
        (linear(), {"input_shape": (7,)}, r"fails on an input of shape \(7,\): mat1 and mat2"),
        (linear(), {"input_shape": ()}, r"input_shape must hold positive sizes, .* got \(\)"),
        (linear(), {"input_shape": (0, 3)}, "input_shape must hold positive sizes"),
        (Constant(math.nan), {}, "must return finite numbers; got NaN or infinity"),
        (Constant(math.inf), {}, "must return finite numbers"),
        (linear(), {"mean": (0.5,)}, "mean and std must both hold 1 or 6 numbers"),
        (linear(), {"mean": (0.5, 0.5), "std": (1.0, 1.0)}, "mean and std must both hold 1 or 6 numbers"),
        (linear(), {"mean": (0.5,), "std": (0.0,)}, "std must be positive"),
        (nn.Sequential(nn.Flatten(), nn.Linear(6, 3), nn.Flatten(0)), {}, r"must return \(2, 3\) .* got \(6,\)"),
    ],
)
def test_modules_that_cannot_be_used(module, options, message):
    with pytest.raises(ModelError, match=message):
        Classifier(module, **{"input_shape": (6,), "labels": 3, **options})


def test_a_module_that_wants_more_arguments():
    class Two(nn.Module):
        def forward(self, x, y):
            return x

    with pytest.raises(ModelError, match=r"fails on an input of shape \(6,\): .*missing 1 required"):
        Classifier(Two(), input_shape=(6,), labels=3)


@pytest.mark.parametrize("shape", [(2, 7), (2, 6, 1), (6,), (2, 3, 2)])
def test_inputs_of_another_shape(shape):
    classifier = Classifier(linear(), input_shape=(6,), labels=3)
    for call in (classifier.scores, classifier.predict, classifier.logits):
        with pytest.raises(InputError, match=r"inputs must have shape \(N, 6\); got"):
            call(torch.zeros(shape))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 5), r"inputs must have shape \(N, 4\); got \(2, 5\)"),
        (torch.zeros(4), r"inputs must have shape \(N, 4\); got \(4,\)"),
        (torch.zeros(2, 4, dtype=torch.uint8), r"floating point in \[-1, 1\]; got torch.uint8"),
        (torch.tensor([[0.0, math.nan, 0, 0]]), "must be finite; got NaN or infinity"),
        (torch.tensor([[0.0, -math.inf, 0, 0]]), "must be finite"),
        (torch.full((2, 4), 1.01), r"must lie in \[-1, 1\]; got values from 1.01 to 1.01; rescale"),
        (torch.full((2, 4), 255.0), "got values from 255 to 255"),
    ],
)
def test_check_inputs(x, message):
    with pytest.raises(InputError, match=message):
        check_inputs(x, InputSpec((4,), Bounds(-1.0, 1.0)))


@given(st.floats(-1.0, 1.0, width=32), st.sampled_from([torch.float16, torch.float32, torch.float64]))
def test_check_inputs_takes_every_float_in_the_bounds(value, dtype):
    x = torch.full((2, 4), value, dtype=dtype)
    assert check_inputs(x, InputSpec((4,), Bounds(-1.0, 1.0))).dtype is torch.float32


def test_check_inputs_allows_for_rounding():
    assert check_inputs(torch.full((1, 4), 1.0000001), InputSpec((4,))).shape == (1, 4)
    assert check_inputs(torch.empty(0, 4), InputSpec((4,))).shape == (0, 4)
