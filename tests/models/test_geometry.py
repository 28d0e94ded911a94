"""The white-box boundary distance against closed forms."""

import pytest
import torch
from torch import nn

from variegate.errors import InputError
from variegate.models.classifier import Classifier, full_precision
from variegate.models.geometry import boundary_distance
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier
from variegate.testing.seller import small_classifier
from variegate.types import Bounds, Norm


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(-1.0, 1.0), Bounds(0.0, 255.0)])
@pytest.mark.parametrize("shape", [(16,), (4, 9), (3, 4, 4)])
def test_plane(bounds, shape):
    model = LinearClassifier(shape, bounds=bounds)
    x = model.inputs(6, distance=0.1 * bounds.range, norm=Norm.L2)
    found = boundary_distance(model.classifier(), x)
    assert found.dtype is torch.float32
    # a hyperplane needs one step; its size is found to 1/4096 of a step 1.05 times as long
    torch.testing.assert_close(found.double(), model.distance(x, Norm.L2), rtol=2e-3, atol=2e-4)
    assert bool((found >= 0.999 * model.distance(x, Norm.L2)).all())


@pytest.mark.parametrize("length", [0.05, 0.6])
def test_sphere_from_both_sides(length):
    model = QuadricClassifier((30,), radius=0.3)
    x = model.inputs(6, length=length)
    found, true = boundary_distance(model.classifier(), x).double(), model.distance(x, Norm.L2)
    assert bool((found >= 0.999 * true).all())  # an upper bound
    assert bool((found <= 1.1 * true).all())


def test_nearest_of_many_classes():
    """For a linear network the distance is the smallest over pairs of classes."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(20, 6))
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    classifier = Classifier(module, input_shape=(20,), labels=6, bounds=Bounds(-50.0, 50.0))
    x = torch.randn((40, 20), generator=torch.Generator().manual_seed(0))
    weight, logits, label = module[1].weight, classifier.logits(x), classifier.predict(x)
    gaps = logits.gather(1, label[:, None]) - logits
    slopes = (weight[label][:, None] - weight[None]).norm(dim=2)
    pairwise = (gaps / slopes).masked_fill(nn.functional.one_hot(label, 6).bool(), float("inf"))
    torch.testing.assert_close(boundary_distance(classifier, x, leading=5), pairwise.amin(1), rtol=2e-3, atol=1e-3)


def test_found_perturbations_lie_in_the_bounds_and_batches_do_not_matter():
    classifier = small_classifier(input_shape=(3, 4, 4))
    x = torch.rand((9, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    whole = boundary_distance(classifier, x)
    alone = torch.cat([boundary_distance(classifier, x[i : i + 1]) for i in range(9)])
    torch.testing.assert_close(whole, alone, rtol=2e-3, atol=1e-5)
    assert bool((whole > 0).all())


def test_no_change_found_is_infinite():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.stack([torch.ones(len(x)), 1e-6 * x.flatten(1).mean(1)], 1)

    classifier = Classifier(Constant(), input_shape=(4,), labels=2)
    assert boundary_distance(classifier, torch.rand(3, 4)).tolist() == [float("inf")] * 3


def test_no_inputs():
    assert boundary_distance(small_classifier(), torch.empty(0, 1, 8, 8)).shape == (0,)


def test_wrong_shape():
    with pytest.raises(InputError, match=r"shape \(N, 1, 8, 8\)"):
        boundary_distance(small_classifier(), torch.zeros(2, 64))


def test_works_where_gradients_are_off_and_leaves_none_behind():
    classifier = small_classifier()
    x = torch.rand((2, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = boundary_distance(classifier, x)
    assert bool(found.isfinite().all())
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in classifier.module.parameters())


def test_backward_passes_are_in_bounded_batches_and_full_precision(monkeypatch):
    rows, precision = [], []

    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(16, 3)

        def forward(self, x):
            rows.append(len(x))
            y = self.out(x.flatten(1))
            if y.requires_grad:
                y.register_hook(lambda _: precision.append(torch.backends.cudnn.conv.fp32_precision))
            return y

    classifier = Classifier(Asking(), input_shape=(4, 4), labels=3)
    x = torch.rand((5, 4, 4), generator=torch.Generator().manual_seed(0))
    whole = boundary_distance(classifier, x)
    monkeypatch.setattr("variegate.models.geometry.gradient_rows", lambda most, _: most // 32)
    monkeypatch.setattr("variegate.models.geometry.full_precision", lambda _: full_precision("cuda"))
    rows.clear()
    precision.clear()
    torch.testing.assert_close(boundary_distance(classifier, x), whole, rtol=2e-3, atol=1e-5)
    assert set(rows) == {2, 1}
    assert set(precision) == {"ieee"}
