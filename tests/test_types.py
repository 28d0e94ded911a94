import numpy as np
import pytest
import torch
from torch import nn

from tests.raising import raises
from variegate.data import LabelledImages
from variegate.errors import ConfigurationError, ModelError
from variegate.models.classifier import Classifier
from variegate.oracles.hard_label import HardLabelOracle
from variegate.oracles.rounding import Rounded
from variegate.types import Bounds, InputSpec


def test_three_axes_are_an_image_unless_something_else_is_said():
    assert (InputSpec((3, 8, 8)).layout, InputSpec((3, 8, 8)).kind) == ("CHW", "image")
    assert (InputSpec((30,)).layout, InputSpec((30,)).kind) == ("", "array")
    sound = InputSpec((1, 2, 400), Bounds(-1.0, 1.0), kind="audio")
    assert (sound.layout, sound.kind, sound.size, sound.middle) == ("", "audio", 800, 0.0)


@pytest.mark.parametrize("shape", [(), (0,), (3, -1, 2)])
def test_sizes_are_positive(shape):
    with raises(ConfigurationError, "input_shape"):
        InputSpec(shape)


def test_a_layout_names_each_axis():
    with raises(ConfigurationError, "layout", "HW"):
        InputSpec((3, 8, 8), layout="HW")


def test_one_spec_goes_from_data_to_classifier_to_oracle():
    data = LabelledImages(
        images=np.zeros((2, 1, 4, 4), dtype=np.float32),
        labels=np.zeros(2, dtype=np.int64),
        class_names=("a",),
        name="x",
    )
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    classifier = Classifier(network, input_spec=data.input_spec, labels=2)
    oracle = Rounded(
        HardLabelOracle(classifier.predict, input_spec=classifier.input_spec, num_classes=2, samples=1), levels=4
    )
    assert oracle.input_spec is classifier.input_spec is not None
    assert (oracle.input_shape, oracle.bounds) == (data.image_shape, Bounds())
    assert classifier.input_spec == data.input_spec == Classifier(network, input_shape=(1, 4, 4), labels=2).input_spec
    assert oracle.label(torch.zeros(1, 1, 4, 4), torch.zeros(1, dtype=torch.int64)).shape == (1,)


@pytest.mark.parametrize("given", [{}, {"input_spec": InputSpec((4,)), "input_shape": (4,)}])
def test_a_classifier_takes_a_spec_or_its_parts(given):
    with raises(ModelError, "input_spec", "input_shape"):
        Classifier(nn.Linear(4, 2), labels=2, **given)
