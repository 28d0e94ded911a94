from dataclasses import replace

import pytest
import torch
from torch import nn

from variegate.errors import ConfigurationError
from variegate.training.loop import METHODS, find_method
from variegate.training.muon import Muon
from variegate.training.recipe import PRESETS, RateSchedule, TrainingRecipe, find_preset, is_mirrored, parse_settings

RECIPE = TrainingRecipe(architecture="resnet11", epochs=3)


def rates(schedule: str, steps: int, *, highest: float = 1.0) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=99.0)
    rate = RateSchedule(optimizer, schedule, highest=highest, steps=steps)  # type: ignore[arg-type]
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        rate.step()
    return found


def test_one_cycle_rises_in_a_fifth_and_falls_to_almost_zero() -> None:
    found = rates("one_cycle", 10, highest=0.5)
    assert found == pytest.approx([0.25, 0.5, *(0.5 * k / 9 for k in range(8, 0, -1))])


def test_other_schedules() -> None:
    assert rates("constant", 4, highest=0.3) == [0.3] * 4
    assert rates("steps", 8) == pytest.approx([1.0] * 4 + [0.1] * 2 + [0.01] * 2)
    assert rates("cosine", 4) == pytest.approx([1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "steps", "constant"])
def test_rates_are_positive_and_follow_from_the_step_alone(schedule: str) -> None:
    for steps in (1, 2, 7):
        found = rates(schedule, steps)
        assert all(0 < rate <= 1 for rate in found)
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=99.0)
        rate = RateSchedule(optimizer, schedule, highest=1.0, steps=steps)  # type: ignore[arg-type]
        for done in reversed(range(steps)):
            rate.go_to(done)
            assert optimizer.param_groups[0]["lr"] == found[done]


def test_every_setting_changes_the_digest() -> None:
    others = [
        {"architecture": "vgg11"},
        {"arguments": {"width": 8}},
        {"code": {"net.py": "0" * 64}},
        {"epochs": 4},
        {"batch_size": 64},
        {"optimizer": "adamw"},
        {"learning_rate": 0.2},
        {"momentum": 0.0},
        {"weight_decay": 0.0},
        {"schedule": "steps"},
        {"label_smoothing": 0.1},
        {"sizes": ("24x1",)},
        {"augmentations": ("flip",)},
        {"mean": None, "std": None},
        {"precision": "bfloat16"},
        {"channels_last": False},
    ]
    digests = {replace(RECIPE, **other).digest for other in others}  # type: ignore[arg-type]
    assert len(digests | {RECIPE.digest}) == len(others) + 1
    assert replace(RECIPE).digest == RECIPE.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1; got 0"),
        ({"epochs": 1.5}, "got 1.5"),
        ({"batch_size": 1}, "batch_size must be a whole number of at least 2; got 1"),
        ({"batch_size": True}, "got True"),
        ({"optimizer": "lion"}, "optimizer must be sgd or adamw or muon; got 'lion'"),
        ({"schedule": "up"}, "schedule must be one_cycle or cosine or steps or constant; got 'up'"),
        ({"precision": "float16"}, "precision must be float32 or bfloat16; got 'float16'"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0; got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be 0 or a positive number; got nan"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or a positive number; got -1.0"),
        ({"momentum": 1.0}, "momentum must be below 1; got 1"),
        ({"label_smoothing": 1.0}, "label_smoothing must be below 1; got 1"),
        ({"method": "joint"}, "there is no training method 'joint'; choose from independent"),
        ({"sizes": ("24",)}, "sizes are SIDExEPOCHS, such as 24x10 for ten epochs at 24 pixels; got '24'"),
        ({"sizes": ("16x2", "24x99")}, "sizes must leave to other epochs what is left of .*; they name 101"),
        ({"augmentations": ("spin",)}, "there is no augmentation 'spin'"),
        ({"mean": None}, "mean and std must both be given, or both be none; got one of them"),
        ({"mean": (0.5, 0.5, 0.5)}, "mean and std must be as many numbers each; got 3 and 1"),
        ({"std": (0.0,)}, r"std positive numbers; got \(0.5,\) and \(0.0,\)"),
        ({"mean": (float("inf"),)}, "mean must be finite"),
    ],
)
def test_wrong_recipes(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        replace(RECIPE, **changes)  # type: ignore[arg-type]


def test_settings_as_text() -> None:
    assert parse_settings(
        {
            "epochs": "7",
            "learning_rate": "1e-2",
            "optimizer": "adamw",
            "sizes": "16x2, 24x3",
            "augmentations": "crop:2, flip",
            "mean": "0.1,0.2,0.3",
            "std": "none",
            "channels_last": "False",
        }
    ) == {
        "epochs": 7,
        "learning_rate": 0.01,
        "optimizer": "adamw",
        "sizes": ("16x2", "24x3"),
        "augmentations": ("crop:2", "flip"),
        "mean": (0.1, 0.2, 0.3),
        "std": None,
        "channels_last": False,
    }
    assert parse_settings({"augmentations": "none"}) == {"augmentations": ()}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"epoch": "3"}, "a recipe has no setting 'epoch'; it has epochs, batch_size, "),
        ({"epochs": "3.5"}, "epochs takes a whole number; got '3.5'"),
        ({"learning_rate": "fast"}, "learning_rate takes a number; got 'fast'"),
        ({"mean": "a,b"}, "mean takes numbers with commas, or none; got 'a,b'"),
        ({"channels_last": "1"}, "channels_last takes true or false; got '1'"),
    ],
)
def test_wrong_settings(texts: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_settings(texts)


def test_optimizers_spare_biases_and_have_the_momentum() -> None:
    module = nn.Linear(3, 2)
    optimizer = replace(RECIPE, weight_decay=0.25, momentum=0.8).make_optimizer(module)
    assert isinstance(optimizer, torch.optim.SGD)
    assert [(group["weight_decay"], len(group["params"])) for group in optimizer.param_groups] == [(0.25, 1), (0.0, 1)]
    assert {(group["momentum"], group["nesterov"]) for group in optimizer.param_groups} == {(0.8, True)}
    plain = replace(RECIPE, momentum=0.0).make_optimizer(module)
    assert not plain.param_groups[0]["nesterov"]
    assert isinstance(replace(RECIPE, optimizer="adamw").make_optimizer(module), torch.optim.AdamW)
    muon = replace(RECIPE, optimizer="muon", weight_decay=0.25, momentum=0.8).make_optimizer(module)
    assert isinstance(muon, Muon)
    assert [(group["weight_decay"], group["momentum"]) for group in muon.param_groups] == [(0.25, 0.8), (0.0, 0.8)]


def test_the_paper_preset_is_the_papers() -> None:
    recipe = find_preset("paper").recipe(data_name="cifar10")
    assert (recipe.architecture, recipe.epochs, recipe.method) == ("vgg19", 200, "independent")
    assert recipe.augmentations == ("resized_crop", "flip")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_build_and_leave_out_the_flip_where_it_would_harm(name: str) -> None:
    preset = find_preset(name)
    assert "flip" in preset.recipe(data_name="cifar10").augmentations
    signs = preset.recipe(data_name="GTSRB-32")
    assert signs.augmentations == tuple(a for a in preset.recipe(data_name="x").augmentations if a != "flip")
    asked = preset.recipe(data_name="gtsrb", settings={"augmentations": ("flip",)})
    assert asked.augmentations == ("flip",)


def test_another_network_does_not_get_the_presets_arguments() -> None:
    laptop = find_preset("laptop")
    own = {"width": 48, "mirror": True}
    assert laptop.recipe(data_name="x").arguments == own
    assert laptop.recipe(data_name="x", architecture="whitened_cnn").arguments == own
    assert laptop.recipe(data_name="x", arguments={"width": 32}).arguments == {**own, "width": 32}
    assert laptop.recipe(data_name="gtsrb").arguments == {"width": 48}
    assert laptop.recipe(data_name="gtsrb", arguments={"mirror": True}).arguments == own
    assert laptop.recipe(data_name="x", architecture="vgg11").arguments == {}


def test_names_that_are_not_mirrored() -> None:
    assert is_mirrored("cifar10")
    assert not any(map(is_mirrored, ("gtsrb", "Digits", "fashion-MNIST", "traffic_signs", "SVHN")))
    with pytest.raises(ConfigurationError, match="there is no training preset 'cluster'; choose from paper, laptop"):
        find_preset("cluster")


def test_independent_training_is_smoothed_cross_entropy() -> None:
    assert set(METHODS) == {"independent"}
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5]])
    labels = torch.tensor([0, 2])
    loss = find_method("independent").loss(label_smoothing=0.3)(nn.Identity(), logits.bfloat16(), labels)
    target = nn.functional.one_hot(labels, 3) * 0.7 + 0.1
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, -(target * logits.log_softmax(1)).sum(1).mean())
