"""The attacks whose speed is compared, by variegate, ART and Foolbox, at like settings; every model row is counted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from benchmarks.models import Subject
from benchmarks.replay.common import seeded_numpy
from variegate.adapters.art import art_classifier, mended_geoda
from variegate.adapters.foolbox import foolbox_classifier
from variegate.adapters.modules import ToFloat32
from variegate.attacks.base import Attack
from variegate.attacks.boundary import Boundary
from variegate.attacks.cgba import CGBA
from variegate.attacks.driver import run_attack
from variegate.attacks.geoda import GeoDA
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.rays import RayS
from variegate.attacks.surfree import SurFree
from variegate.oracles.hard_label import HardLabelOracle

Run = Callable[[Subject, nn.Module, Tensor, Tensor, float], int]
"""(subject, module, images, labels, scale) -> rows that the model labelled."""

_HSJ_ITERATIONS, _BOUNDARY_ITERATIONS, _FOOLBOX_BOUNDARY_STEPS, _QUERIES = 4, 40, 1000, 1500


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One attack: by variegate, and by the libraries that have it."""

    ours: Run
    art: Run | None = None
    foolbox: Run | None = None


@final
class _Counter(nn.Module):
    """Counts the rows that the module labels."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.rows = 0

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, *input_shape) to logits."""
        self.rows += len(x)
        result: Tensor = self.module(x)
        return result


def _ours(make: Callable[[float], Attack], queries: int | None = None) -> Run:
    def run(subject: Subject, _module: nn.Module, images: Tensor, labels: Tensor, scale: float) -> int:
        classifier = subject.classifier
        oracle = HardLabelOracle(
            classifier.predict,
            input_spec=classifier.input_spec,
            num_classes=classifier.num_classes,
            samples=len(images),
            budget=None if queries is None else _scaled(queries, scale),
        )
        run_attack(make(scale), oracle, images, labels, seed=0, starting_points=_starts(subject, labels))
        return oracle.meter.total

    return run


def _art(make: Callable[[Any, float], Any], *, with_starts: bool = True) -> Run:
    """Return a run of the attack that `make` makes of ART's classifier and the scale."""

    def run(subject: Subject, module: nn.Module, images: Tensor, labels: Tensor, scale: float) -> int:
        counter = _Counter(ToFloat32(module))
        with mended_geoda(), seeded_numpy(0, 0):
            attack = make(art_classifier(counter, subject.classifier), scale)
            starts = {"x_adv_init": _starts(subject, labels).numpy()} if with_starts else {}
            attack.generate(images.numpy(), y=labels.numpy(), **starts)
        return counter.rows

    return run


def _foolbox(make: Callable[[float], Any]) -> Run:
    def run(subject: Subject, module: nn.Module, images: Tensor, labels: Tensor, scale: float) -> int:
        from foolbox.criteria import Misclassification

        counter = _Counter(module)
        with torch.random.fork_rng(devices=[]), seeded_numpy(0, 0), torch.no_grad():
            torch.default_generator.manual_seed(0)
            model = foolbox_classifier(counter, subject.classifier)
            starts = _starts(subject, labels)
            make(scale).run(model, images, Misclassification(labels), starting_points=starts)
        return counter.rows

    return run


def _starts(subject: Subject, labels: Tensor) -> Tensor:
    """Return for each label an image that the model gives another label: a start that cannot fail."""
    given = subject.predicted
    return torch.stack([subject.images[int((given != label).nonzero()[0])] for label in labels])


def _scaled(usual: int, scale: float) -> int:
    return max(1, round(usual * scale))


def _art_hopskipjump(estimator: Any, scale: float) -> Any:  # noqa: ANN401 - ART ships no types
    from art.attacks.evasion import HopSkipJump as ArtHopSkipJump

    return ArtHopSkipJump(estimator, max_iter=_scaled(_HSJ_ITERATIONS, scale), verbose=False)


def _art_boundary(estimator: Any, scale: float) -> Any:  # noqa: ANN401 - ART ships no types
    from art.attacks.evasion import BoundaryAttack

    return BoundaryAttack(
        estimator, targeted=False, max_iter=_scaled(_BOUNDARY_ITERATIONS, scale), delta=0.01, verbose=False
    )


def _art_geoda(estimator: Any, scale: float) -> Any:  # noqa: ANN401 - ART ships no types
    from art.attacks.evasion import GeoDA as ArtGeoDA

    side = min(10, *estimator.input_shape[-2:])
    return ArtGeoDA(estimator, max_iter=max(500, _scaled(_QUERIES, scale)), sub_dim=side, verbose=False)


def _foolbox_hopskipjump(scale: float) -> Any:  # noqa: ANN401 - Foolbox is untyped here
    from foolbox.attacks.hop_skip_jump import HopSkipJumpAttack

    return HopSkipJumpAttack(steps=_scaled(_HSJ_ITERATIONS, scale))


def _foolbox_boundary(scale: float) -> Any:  # noqa: ANN401 - Foolbox is untyped here
    from foolbox.attacks.boundary_attack import BoundaryAttack

    return BoundaryAttack(steps=_scaled(_FOOLBOX_BOUNDARY_STEPS, scale))


ENGINES: dict[str, Engine] = {
    "hopskipjump": Engine(
        ours=_ours(lambda scale: HopSkipJump(iterations=_scaled(_HSJ_ITERATIONS, scale))),
        art=_art(_art_hopskipjump),
        foolbox=_foolbox(_foolbox_hopskipjump),
    ),
    "boundary": Engine(
        ours=_ours(lambda scale: Boundary(semantics="art", iterations=_scaled(_BOUNDARY_ITERATIONS, scale))),
        art=_art(_art_boundary),
        foolbox=_foolbox(_foolbox_boundary),
    ),
    "geoda": Engine(
        ours=_ours(lambda scale: GeoDA(semantics="art", max_queries=max(500, _scaled(_QUERIES, scale)))),
        art=_art(_art_geoda, with_starts=False),
    ),
    "cgba": Engine(ours=_ours(lambda _: CGBA(), _QUERIES)),
    "surfree": Engine(ours=_ours(lambda _: SurFree(), _QUERIES)),
    "rays": Engine(ours=_ours(lambda _: RayS(), _QUERIES)),
}
