from importlib.metadata import EntryPoint, EntryPoints

import pytest
import torch
from torch import nn

from variegate.errors import ConfigurationError, InputError, ModelError, NotFoundError
from variegate.models.architectures import catalog
from variegate.models.architectures.catalog import (
    ARCHITECTURES,
    architecture_names,
    build_architecture,
    call_factory,
)
from variegate.models.architectures.plain import WhitenedCnn
from variegate.models.architectures.resnet import _SubsampleAndPad

# Counted by hand: weights and biases of convolutions and linear layers, two per channel of a batch normalisation.
PARAMETERS = {
    "digits_cnn": 25_978,
    "resnet11": 1_941_546,
    "resnet18": 11_173_962,
    "resnet20": 269_722,
    "vgg11": 9_228_362,
    "vgg13": 9_413_066,
    "vgg16": 14_724_042,
    "vgg19": 20_035_018,
    "whitened_cnn": 1_971_640,
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shapes_gradients_and_parameter_counts(name: str) -> None:
    module = build_architecture(name, {"num_classes": 10}).eval()
    assert sum(parameter.numel() for parameter in module.parameters()) == PARAMETERS[name]
    side, channels = (8, 1) if name == "digits_cnn" else (32, 3)
    x = torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits = module(x)
    assert logits.shape == (2, 10)
    assert bool(logits.isfinite().all())
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    assert float(gradient.abs().max()) > 0


def test_vgg19_by_formula() -> None:
    widths = [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    convolutions = sum(9 * before * after for before, after in zip([3, *widths], widths, strict=False))
    assert PARAMETERS["vgg19"] == convolutions + 2 * sum(widths) + 512 * 10 + 10
    module = build_architecture("vgg19", {"num_classes": 10})
    assert sum(isinstance(part, nn.Conv2d) for part in module.modules()) == 16
    assert sum(isinstance(part, nn.Linear) for part in module.modules()) == 1


def test_resnet11_by_formula() -> None:
    pairs = [(3, 8), *((a, b) for width in (8, 16, 32) for a, b in ((width, 2 * width), *[(2 * width, 2 * width)] * 2))]
    module = build_architecture("resnet11", {"num_classes": 5, "width": 8})
    count = sum(9 * before * after + 2 * after for before, after in pairs) + 64 * 5 + 5
    assert sum(parameter.numel() for parameter in module.parameters()) == count
    assert sum(isinstance(part, nn.Conv2d | nn.Linear) for part in module.modules()) == 11


def test_resnet11_takes_the_maximum_over_positions() -> None:
    """What is there twice, far enough apart, counts once."""
    module = build_architecture("resnet11", {"num_classes": 3, "width": 4}).eval()
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    blank = torch.zeros(2, 3, 192, 192)
    once, twice = blank.clone(), blank.clone()
    once[:, :, 40:48, 40:48] = x
    twice[:, :, 40:48, 40:48] = twice[:, :, 144:152, 144:152] = x
    assert torch.allclose(module(once), module(twice), atol=1e-6)
    assert not torch.allclose(module(once), module(blank), atol=1e-6)


def test_whitened_cnn_by_formula() -> None:
    pairs = [(24, 8), (8, 8), (8, 32), (32, 32), (32, 32), (32, 32)]
    module = build_architecture("whitened_cnn", {"num_classes": 5, "width": 8})
    count = 24 * (12 + 1) + sum(9 * before * after + after for before, after in pairs) + 32 * 5
    assert sum(parameter.numel() for parameter in module.parameters()) == count


def test_the_first_layer_whitens_the_images_it_was_prepared_with() -> None:
    """Responses to the first half of the kernels are uncorrelated with variance 1; the others are their negatives."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(40, 3, 32, 32, generator=generator).cumsum(3) + torch.randn(40, 3, 1, 1, generator=generator)
    module = build_architecture("whitened_cnn", {"num_classes": 2, "width": 8})
    assert isinstance(module, WhitenedCnn)
    module.prepare(images)
    out = module.whiten(images).detach().transpose(0, 1).flatten(1).double()
    assert torch.allclose(torch.cov(out[:12]), torch.eye(12, dtype=torch.float64), atol=0.02)
    assert torch.allclose(out[12:], -out[:12])
    assert not module.whiten.weight.requires_grad


def test_whitened_cnn_is_prepared_with_images_of_its_own_kind() -> None:
    module = build_architecture("whitened_cnn", {"num_classes": 2, "width": 8})
    assert isinstance(module, WhitenedCnn)
    with pytest.raises(InputError, match=r"expected images \(N, 3, H, W\); got \(4, 1, 32, 32\)"):
        module.prepare(torch.zeros(4, 1, 32, 32))


@pytest.mark.parametrize("side", [9, 24, 31])
def test_whitened_cnn_takes_small_images(side: int) -> None:
    assert build_architecture("whitened_cnn", {"num_classes": 4, "width": 8})(torch.zeros(2, 3, side, side)).shape == (
        2,
        4,
    )


def test_a_mirrored_image_gets_the_same_answer_if_that_is_asked_for() -> None:
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, mirror = (
        build_architecture("whitened_cnn", {"num_classes": 4, "width": 8, "mirror": mirror}) for mirror in (False, True)
    )
    assert torch.equal(plain.train()(x), mirror.train()(x))
    plain, mirror = plain.eval(), mirror.eval()
    assert torch.allclose(mirror(x), (plain(x) + plain(x.flip(3))) / 2, atol=1e-6)
    assert torch.allclose(mirror(x), mirror(x.flip(3)), atol=1e-6)
    assert not torch.allclose(plain(x), plain(x.flip(3)), atol=1e-6)
    with pytest.raises(ConfigurationError, match="mirror must be true or false; got 1"):
        build_architecture("whitened_cnn", {"num_classes": 4, "mirror": 1})


@pytest.mark.parametrize("width", [7, 8.0, True])
def test_wrong_widths_of_whitened_cnn(width: object) -> None:
    with pytest.raises(ConfigurationError, match=f"width must be an integer of at least 8; got {width}"):
        build_architecture("whitened_cnn", {"num_classes": 3, "width": width})  # type: ignore[dict-item]


@pytest.mark.parametrize("width", [0, -1, 1.5, True])
def test_wrong_widths(width: object) -> None:
    with pytest.raises(ConfigurationError, match=f"width must be an integer of at least 1; got {width}"):
        build_architecture("resnet11", {"num_classes": 3, "width": width})  # type: ignore[dict-item]


@pytest.mark.parametrize("name", ["vgg11", "resnet11", "resnet20", "digits_cnn", "whitened_cnn"])
def test_classes_channels_and_other_sizes(name: str) -> None:
    module = build_architecture(name, {"num_classes": 7, "in_channels": 2}).eval()
    assert module(torch.zeros(1, 2, 48, 40)).shape == (1, 7)


def test_resnet20_takes_odd_sizes() -> None:
    assert build_architecture("resnet20", {"num_classes": 2})(torch.zeros(2, 3, 29, 31)).shape == (2, 2)


def test_option_a_shortcut_is_the_picture_itself() -> None:
    x = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    out = _SubsampleAndPad(2, 4)(x)
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
    assert float(out[:, :2].abs().sum() + out[:, 6:].abs().sum()) == 0


def test_weights_follow_from_the_seed_and_leave_the_global_generator() -> None:
    before = torch.get_rng_state()
    states = [build_architecture("digits_cnn", {"num_classes": 3}, seed=seed).state_dict() for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["classifier.weight"], states[2]["classifier.weight"])


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"num_classes": 1}, ConfigurationError, "num_classes must be an integer of at least 2; got 1"),
        ({"num_classes": 0}, ConfigurationError, "got 0"),
        ({"num_classes": 2.5}, ConfigurationError, "got 2.5"),
        ({"num_classes": True}, ConfigurationError, "got True"),
        (
            {"num_classes": 3, "in_channels": 0},
            ConfigurationError,
            "in_channels must be an integer of at least 1; got 0",
        ),
        ({}, ModelError, r"'vgg11' takes \(num_classes: int, in_channels: int = 3\) .* given no arguments: missing"),
        ({"num_classes": 3, "depth": 4}, ModelError, "given num_classes=3, depth=4: got an unexpected keyword"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        build_architecture("vgg11", arguments)  # type: ignore[arg-type]


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        NotFoundError, match=r"no architecture 'vgg20'; choose one of digits_cnn, .* vgg19, whitened_cnn, or give"
    ):
        build_architecture("vgg20", {"num_classes": 2})


def tiny(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, num_classes))


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    group = catalog.ENTRY_POINTS
    found = EntryPoints(
        [
            EntryPoint("plugin_net", "tests.models.test_architectures:tiny", group),
            EntryPoint("broken_net", "no_such_package:tiny", group),
            EntryPoint("vgg19", "no_such_package:tiny", group),
        ]
    )
    monkeypatch.setattr(catalog, "entry_points", found.select)


@pytest.mark.usefixtures("plugins")
def test_plugins_add_and_do_not_replace() -> None:
    assert {"plugin_net", "vgg19"} <= set(architecture_names())
    assert build_architecture("plugin_net", {"num_classes": 3})(torch.zeros(1, 4)).shape == (1, 3)
    assert catalog.find_architecture("vgg19") is ARCHITECTURES["vgg19"]
    with pytest.raises(
        ModelError, match="'broken_net' of no_such_package:tiny cannot be imported: ModuleNotFoundError"
    ):
        build_architecture("broken_net", {})


def fails() -> nn.Module:
    raise KeyError("depth")


def leaves() -> nn.Module:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (fails, "the net raised KeyError: 'depth'"),
        (leaves, "the net raised SystemExit: 3"),
        (lambda: "a string", "the net must return a torch.nn.Module; it returned str"),
        (dict, "must return a torch.nn.Module; it returned dict"),
        (3, "the net must be a function that returns a torch.nn.Module; it is int"),
    ],
)
def test_factories_that_do_not_work(factory: object, message: str) -> None:
    before = torch.get_rng_state()
    with pytest.raises(ModelError, match=message):
        call_factory(factory, "the net", {})  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), before)
