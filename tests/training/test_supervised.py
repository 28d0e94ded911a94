import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from variegate.data import load_dataset
from variegate.errors import ConfigurationError, InputError, ModelError
from variegate.models.architectures.catalog import build_architecture
from variegate.training import EpochReport, train_classifier


def toy(count: int = 64) -> tuple[Tensor, Tensor]:
    """Two classes that one pixel tells apart."""
    x = torch.rand(count, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0, 0, 0] > 0.5).long()


def net(*, dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 2)
        )


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_digits_reach_95_percent() -> None:
    train, test = load_dataset("digits", split="train"), load_dataset("digits")
    module = build_architecture("digits_cnn", {"num_classes": 10})
    trained = train_classifier(module, train.images, train.labels, epochs=5)
    correct = trained(torch.from_numpy(test.images)).argmax(1).numpy() == test.labels
    assert correct.mean() >= 0.95


def test_it_learns_and_returns_a_frozen_module_in_evaluation_mode() -> None:
    x, y = toy(400)
    trained = train_classifier(net(), x, y, epochs=20, batch_size=32)
    assert float((trained(x).argmax(1) == y).float().mean()) > 0.97
    assert not any(part.training for part in trained.modules())
    assert not any(parameter.requires_grad for parameter in trained.parameters())


def test_the_argument_and_the_global_generators_stay_as_they_were() -> None:
    module = net(dropout=0.5).requires_grad_(False).eval()
    before, states = copy.deepcopy(module), (torch.get_rng_state(), np.random.get_state()[1].copy())  # noqa: NPY002
    x, y = toy()
    images = x.clone()
    trained = train_classifier(module, images, y, epochs=2)
    assert same(module, before)
    assert not module.training
    assert not same(trained, before)
    assert torch.equal(images, x)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


def test_one_seed_one_result() -> None:
    """Order, dropout and augmentation all follow from the seed, whatever the global generator holds."""

    def noisy(images: Tensor, generator: torch.Generator) -> Tensor:
        return images + 0.01 * torch.randn(images.shape, generator=generator)

    x, y = toy()
    results = []
    for seed, state in ((3, 1), (3, 2), (4, 1)):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(state)
            trained = train_classifier(
                net(dropout=0.5), x, y, epochs=3, batch_size=16, seed=seed, augmentations=[noisy]
            )
        results.append(trained)
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_another_seed_is_another_order() -> None:
    x, y = toy()
    results = [train_classifier(net(), x, y, epochs=1, batch_size=16, seed=seed) for seed in (1, 1, 2)]
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_numpy_and_torch_give_the_same() -> None:
    x, y = toy()
    images, labels = x.numpy().copy(), y.numpy().copy()
    images.setflags(write=False)
    labels.setflags(write=False)
    assert same(train_classifier(net(), x, y, epochs=1), train_classifier(net(), images, labels, epochs=1))


def test_progress() -> None:
    x, y = toy()
    reports: list[EpochReport] = []
    train_classifier(net(), x, y, epochs=3, progress=reports.append)
    assert [(report.epoch, report.epochs) for report in reports] == [(1, 3), (2, 3), (3, 3)]
    assert reports[-1].loss < reports[0].loss
    assert 0 <= reports[0].seconds <= reports[-1].seconds


def test_progress_can_stop_the_training() -> None:
    class StopError(Exception):
        pass

    def stop(report: EpochReport) -> None:
        raise StopError

    x, y = toy()
    before = torch.get_rng_state()
    with pytest.raises(StopError):
        train_classifier(net(), x, y, epochs=3, progress=stop)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("count", "sizes"), [(9, [4, 4]), (10, [4, 4, 2]), (3, [3]), (8, [4, 4])])
def test_batches_and_the_odd_image(count: int, sizes: list[int]) -> None:
    """A last batch of one image would break batch normalisation, so it is left out."""
    seen = []

    def loss(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        seen.append(len(images))
        return nn.functional.cross_entropy(module(images), labels)

    x, y = toy(count)
    train_classifier(net(), x, y, epochs=1, batch_size=4, loss=loss)
    assert seen == sizes


def test_every_image_is_seen_once_per_epoch_with_its_label() -> None:
    seen: list[tuple[float, int]] = []

    def loss(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        seen.extend(zip(images[:, 0, 0, 0].tolist(), labels.tolist(), strict=True))
        return nn.functional.cross_entropy(module(images), labels)

    x, y = toy(12)
    train_classifier(net(), x, y, epochs=2, batch_size=4, loss=loss)
    expected = sorted(zip(x[:, 0, 0, 0].tolist(), y.tolist(), strict=True))
    assert sorted(seen[:12]) == sorted(seen[12:]) == expected
    assert seen[:12] != seen[12:]


def test_weight_decay_spares_biases_and_normalisation() -> None:
    """With a loss of zero only the decay moves weights."""

    def nothing(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return 0.0 * module(images).sum()

    module = net()
    x, y = toy()
    trained = train_classifier(module, x, y, epochs=2, loss=nothing, weight_decay=1.0)
    for (name, before), after in zip(module.named_parameters(), trained.parameters(), strict=True):
        shrunk = bool((after.detach().abs() < before.detach().abs()).all())
        assert shrunk if before.ndim > 1 else torch.equal(after, before), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, for batch normalisation; got 1"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number; got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a positive number; got nan"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or a positive number; got -1"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    x, y = toy()
    with pytest.raises(ConfigurationError, match=message):
        train_classifier(net(), x, y, **{"epochs": 1, **options})  # type: ignore[arg-type]


X, Y = toy(8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ((X * 255).to(torch.uint8), Y, r"images must be floating point \(N, C, H, W\); got torch.uint8"),
        (X[:, 0, 0, 0], Y, r"got torch.float32 of shape \(8,\)"),
        (X, Y[:7], r"expected 8 int64 labels, one per image; got torch.int64 of shape \(7,\)"),
        (X, Y.float(), "got torch.float32 of shape"),
        (X[:0], Y[:0], "at least 2 images; got 0"),
        (X[:1], Y[:1], "at least 2 images; got 1"),
        (X.where(X < 0.9, float("nan")), Y, "training images must be finite"),
        (X, Y + 1, r"labels must lie in 0 \.\. 1, one for each logit; got 1 \.\. 2"),
        (X, Y - 1, r"got -1 \.\. 0"),
    ],
)
def test_wrong_data(images: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train_classifier(net(), images, labels, epochs=1)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Linear(9, 2), r"the module fails on images of shape \(1, 2, 2\)"),
        (nn.Identity(), r"must return \(2, n\) logits for 2 images; got \(2, 1, 2, 2\)"),
        (nn.Flatten(), "no parameters; there is nothing to train"),
    ],
)
def test_modules_that_cannot_be_trained(module: nn.Module, message: str) -> None:
    x, y = toy()
    with pytest.raises(ModelError, match=message):
        train_classifier(module, x, y, epochs=1)


def test_divergence_is_said() -> None:
    x, y = toy()
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ModelError, match=r"no longer finite in epoch 1; lower the learning rate from 1e\+30"):
        train_classifier(module, x, y, epochs=1, batch_size=2, learning_rate=1e30, weight_decay=1e30)
