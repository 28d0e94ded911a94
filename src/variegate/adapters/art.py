"""The Adversarial Robustness Toolbox (ART): its attacks on our oracles, our copies as its models.

Black-box: `run_art_attack` runs any of ART's decision-based attacks with variegate's counting and budgets. White-box:
`art_estimator` makes a PyTorch classifier of ART's, for its gradient attacks and metrics.

Worked around here, for ART 1.20 on NumPy 2: it sends float64 where models take float32; GeoDA calls `np.mat`, which is
gone, makes its basis anew value by value, and keeps it in a file in the current folder (here the basis is made by
products and kept in memory); with two classes it takes labels in one-hot form only.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from variegate.adapters.closest import OneImage
from variegate.adapters.library import (
    LIBRARIES,
    Image,
    LibraryAttack,
    Rule,
    require_library,
    run_library_attack,
    simple_settings,
)
from variegate.adapters.modules import Scores
from variegate.attacks.base import AttackResult
from variegate.attacks.white_box.gradients import Differentiable
from variegate.errors import ConfigurationError
from variegate.oracles.hard_label import Oracle
from variegate.types import Bounds, InputSpec, Norm

_GEODA = "art.attacks.evasion.geometric_decision_based_attack"


class Described(Protocol):
    """What ART wants to know of a model: a `Classifier`, a `RewrittenCopy` or an oracle says it."""

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        ...

    @property
    def input_spec(self) -> InputSpec:
        """What one input is."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        ...

    @property
    def bounds(self) -> Bounds:
        """The interval of valid input values."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...


def art_classifier(module: nn.Module, like: Described, *, loss: nn.Module | None = None) -> Any:  # noqa: ANN401
    """Return ART's `PyTorchClassifier` over any module, with the shape, classes, bounds and device of `like`.

    Args:
        module: maps (N, *input_shape) to (N, n); it gets what ART sends, on NumPy 2 also float64 (`ToFloat32` casts).
        like: a `Classifier`, a `RewrittenCopy` or an oracle.
        loss: of the module's outputs and labels; cross-entropy by default, which takes them for logits.

    Raises:
        ConfigurationError: ART is not installed.
    """
    art = _require("art.estimators.classification", "ART's classifier")
    return art.PyTorchClassifier(
        module,
        loss=loss if loss is not None else nn.CrossEntropyLoss(),
        input_shape=like.input_shape,
        nb_classes=like.num_classes,
        clip_values=(like.bounds.lower, like.bounds.upper),
        device_type="cpu" if like.device.type == "cpu" else "gpu",
    )


def art_estimator(target: Differentiable, *, loss: nn.Module | None = None) -> Any:  # noqa: ANN401 - ART has no types
    """Return ART's `PyTorchClassifier` over a classifier or a copy: white-box, L1-normalised scores out.

    Scores saturate where the model is sure, and so do gradients through them: attacks that follow gradients find less
    than on logits. A rewriter can make scores negative, so that logarithms are not taken.

    Args:
        target: a `Classifier` or a `RewrittenCopy`.
        loss: of scores and labels; cross-entropy by default.

    Raises:
        ConfigurationError: ART is not installed.
    """
    return art_classifier(Scores(target), target, loss=loss)


def art_black_box(image: OneImage) -> Any:  # noqa: ANN401 - ART has no types
    """Return ART's hard-label estimator over one image of an oracle: its predictions are one-hot labels.

    Every row that ART asks is counted for that image; `BudgetSpentError` ends the attack when they are spent, and
    `image.seen` holds the closest adversarial. `run_art_attack` does this for many images.

    Raises:
        ConfigurationError: ART is not installed.
    """

    def predict(x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = image(torch.from_numpy(np.asarray(x))).cpu().numpy()
        return scores

    return _black_box(predict, image.oracle)


def run_art_attack(
    make_attack: Callable[[Any], Any],
    oracle: Oracle,
    inputs: Tensor,
    labels: Tensor,
    *,
    seed: int,
    norm: Norm = Norm.L2,
    rule: Rule = "closest",
    targets: Tensor | None = None,
    starting_points: Tensor | None = None,
    identities: Sequence[int] | None = None,
    checkpoint: Path | None = None,
    subject: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> AttackResult:
    """Run one of ART's decision-based attacks through an oracle, image by image, as ART itself does.

    Args:
        make_attack: ART's estimator -> ART's attack, such as `lambda estimator: HopSkipJump(estimator, max_iter=50)`;
            called once more to read the attack's settings. Note that ART's `BoundaryAttack` is targeted by default.
        oracle: built for these inputs, with a budget, which ends the attack.
        inputs: float32 (N, *input_shape).
        labels: int64 (N,), the correct labels.
        seed: decides ART's random draws, with the identities (see `seeded_libraries`).
        norm: how distances are measured; which norm ART makes small is the attack's own setting.
        rule: "closest": the closest adversarial row that the model has labelled within the budget; "returned": what
            ART returned, asked once more, if it came to its end within the budget (one query is kept back for that).
        targets: int64 (N,), for an attack that was made with `targeted=True`.
        starting_points: float32 (N, *input_shape), handed to ART as `x_adv_init`.
        identities: an integer an input that names it in its random stream; by default its position.
        checkpoint, subject, progress: see `variegate.attacks.driver.run_attack`.

    Raises:
        ConfigurationError: ART is not installed, refuses the attack, fails before its first question, the oracle has
            no budget, or targets are given to an untargeted attack or missing for a targeted one.
        InputError: shapes, labels or bounds do not fit.
    """
    try:
        example = make_attack(_black_box(_refuse, oracle))
    except (ArithmeticError, IndexError, TypeError, ValueError) as error:
        raise ConfigurationError(f"ART refused to make the attack: {error}") from error
    name = type(example).__name__
    if bool(getattr(example, "targeted", False)) != (targets is not None):
        wanted, given = ("untargeted", "targets") if targets is not None else ("targeted", "no targets")
        raise ConfigurationError(f"ART's {name} was made {wanted}, but got {given}; set its option `targeted`")

    def attack_one(image: OneImage, question: Image) -> Tensor:
        attack = make_attack(art_black_box(image))
        extra = {} if question.start is None else {"x_adv_init": question.start.cpu().numpy()}
        wanted = one_hot(question.label.cpu(), oracle.num_classes).to(torch.float32).numpy()
        with mended_geoda():
            found = attack.generate(question.clean.cpu().numpy(), y=wanted, **extra)
        return torch.from_numpy(np.asarray(found, dtype=np.float32))

    settings = {key: getattr(example, key, None) for key in example.attack_params}
    attack = LibraryAttack(
        library=f"ART {version(LIBRARIES['art'])}",
        attack=name,
        settings=simple_settings(settings),
        run=attack_one,
        norm=norm,
        rule=rule,
    )
    return run_library_attack(
        attack,
        oracle,
        inputs,
        labels,
        seed=seed,
        targets=targets,
        starting_points=starting_points,
        identities=identities,
        checkpoint=checkpoint,
        subject=subject,
        progress=progress,
    )


def _require(module: str, purpose: str) -> Any:  # noqa: ANN401 - ART has no types
    return require_library("art", module, purpose)


def _black_box(predict: Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]], like: Described) -> Any:  # noqa: ANN401
    art = _require("art.estimators.classification", "an attack of ART's")
    return art.BlackBoxClassifierNeuralNetwork(
        predict,
        input_shape=like.input_shape,
        nb_classes=like.num_classes,
        clip_values=(like.bounds.lower, like.bounds.upper),
    )


def _refuse(_x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    raise ValueError("the attack asked a question before it was run")


@contextmanager
def mended_geoda() -> Iterator[Any]:
    """Give ART's module of GeoDA, able to make its basis without `np.mat` and without a file, inside the block."""
    module = require_library("art", _GEODA, "ART's GeoDA")
    nowhere = SimpleNamespace(path=SimpleNamespace(exists=lambda _path: False))
    numpy_without_files = _Without(np, "save")

    def basis(sub_dim: int, res: int) -> npt.NDArray[np.float64]:
        return _dct_basis(sub_dim, res)

    with (
        mock.patch.object(module, "os", nowhere),
        mock.patch.object(module, "np", numpy_without_files),
        mock.patch.object(module.GeoDA, "_generate_2d_dct_basis", staticmethod(basis)),
    ):
        yield module


class _Without:
    """A module, one of whose functions does nothing."""

    def __init__(self, module: object, name: str) -> None:
        self._module, self._name = module, name

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module has
        return _nothing if name == self._name else getattr(self._module, name)


def _nothing(*_arguments: object) -> None:
    """Do nothing."""


@cache
def _dct_basis(sub_dim: int, res: int) -> npt.NDArray[np.float64]:
    """Return float64 (res * res, sub_dim * sub_dim): the products of cosines that ART's GeoDA draws its noise from.

    Column u * sub_dim + v holds a(u) a(v) cos((2 j + 1) u pi / 2 n) cos((2 i + 1) v pi / 2 n) at row i * res + j, with
    n = max(res, sub_dim) and a(0) = sqrt(1 / n), else sqrt(2 / n).
    """
    size = max(res, sub_dim)
    places, frequencies = np.arange(res), np.arange(sub_dim)
    weights = np.where(frequencies == 0, math.sqrt(1.0 / size), math.sqrt(2.0 / size))
    cosines = weights * np.cos((2 * places[:, None] + 1) * frequencies * math.pi / (2 * size))  # (res, sub_dim)
    basis: npt.NDArray[np.float64] = np.einsum("ju,iv->ijuv", cosines, cosines)
    return basis.reshape(res * res, sub_dim * sub_dim)
