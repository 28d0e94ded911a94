"""Foolbox: its attacks on our oracles, our copies as its models.

Black-box: `run_foolbox_attack` runs any of Foolbox's decision-based attacks with variegate's counting and budgets, in
batches of one image: Foolbox's HopSkipJump normalises its step over the whole batch, so that its result depends on the
batch's size, and its Boundary attack draws one direction for the whole batch. White-box: `foolbox_model`.

Worked around here, for Foolbox 3.3: its HopSkipJump clips to [0, 1] whatever the bounds, so every oracle is shown to it
in [0, 1]; distances are measured in the units of the bounds, as everywhere.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from variegate.adapters.closest import OneImage
from variegate.adapters.library import (
    LIBRARIES,
    Image,
    LibraryAttack,
    Rule,
    require_library,
    run_library_attack,
)
from variegate.adapters.modules import Scores, UnitInterval
from variegate.attacks.base import AttackResult
from variegate.attacks.white_box.gradients import Differentiable
from variegate.errors import ConfigurationError
from variegate.oracles.hard_label import Oracle
from variegate.types import Bounds, Norm


def foolbox_classifier(module: nn.Module, like: Differentiable) -> Any:  # noqa: ANN401 - Foolbox is untyped here
    """Return Foolbox's `PyTorchModel` over any module, with the bounds and device of `like`.

    Args:
        module: maps (N, *input_shape) within the bounds to (N, n); it is put into evaluation mode.
        like: a `Classifier` or a `RewrittenCopy`.

    Raises:
        ConfigurationError: Foolbox is not installed.
    """
    return _model(module, like.bounds, like.device)


def foolbox_model(target: Differentiable) -> Any:  # noqa: ANN401 - Foolbox is untyped here
    """Return Foolbox's `PyTorchModel` over a classifier or a copy: white-box, L1-normalised scores out.

    Foolbox takes what a model gives for logits; scores rank the classes the same way, but gradients through them
    saturate where the model is sure.

    Raises:
        ConfigurationError: Foolbox is not installed.
    """
    return _model(Scores(target), target.bounds, target.device)


def run_foolbox_attack(
    attack: Any,  # noqa: ANN401 - Foolbox is untyped here
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
    """Run one of Foolbox's decision-based attacks through an oracle, one image at a time (see the module).

    Args:
        attack: a minimization attack such as `foolbox.attacks.HopSkipJumpAttack(steps=64)`; it holds no state.
        oracle: built for these inputs, with a budget, which ends the attack.
        inputs: float32 (N, *input_shape).
        labels: int64 (N,), the correct labels.
        seed: decides Foolbox's random draws, with the identities (see `seeded_libraries`).
        norm: how distances are measured; which norm Foolbox makes small is the attack's own setting.
        rule: "closest": the closest adversarial row that the model has labelled within the budget; "returned": what
            Foolbox returned, asked once more, if it came to its end within the budget (one query is kept back).
        targets: int64 (N,), for a targeted attack.
        starting_points: float32 (N, *input_shape), handed to Foolbox.
        identities: an integer an input that names it in its random stream; by default its position.
        checkpoint, subject, progress: see `variegate.attacks.driver.run_attack`.

    Raises:
        ConfigurationError: Foolbox is not installed, `attack` is none of its attacks, it fails before its first
            question, or the oracle has no budget.
        InputError: shapes, labels or bounds do not fit.
    """
    foolbox = _require("an attack of Foolbox's")
    if not isinstance(attack, foolbox.Attack):
        raise ConfigurationError(
            f"expected an attack of Foolbox's, such as HopSkipJumpAttack(); got {type(attack).__name__}"
        )

    def attack_one(image: OneImage, question: Image) -> Tensor:
        shown = UnitInterval(image, oracle.bounds)
        kind = foolbox.criteria.TargetedMisclassification if question.targeted else foolbox.criteria.Misclassification
        extra = {} if question.start is None else {"starting_points": shown.to_unit(question.start)}
        model = _model(shown, Bounds(), torch.device(oracle.device))
        found: Tensor = attack.run(model, shown.to_unit(question.clean), kind(question.label), **extra)
        return shown.from_unit(found.detach())

    made = LibraryAttack(
        library=f"Foolbox {version(LIBRARIES['foolbox'])}",
        attack=type(attack).__name__,
        settings=repr(attack),
        run=attack_one,
        norm=norm,
        rule=rule,
    )
    return run_library_attack(
        made,
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


def _require(purpose: str) -> Any:  # noqa: ANN401 - Foolbox is untyped here
    return require_library("foolbox", "foolbox", purpose)


def _model(module: nn.Module, bounds: Bounds, device: torch.device) -> Any:  # noqa: ANN401
    pytorch = require_library("foolbox", "foolbox.models.pytorch", "Foolbox's model")
    return pytorch.PyTorchModel(module.eval(), bounds=(bounds.lower, bounds.upper), device=device)
