"""DeepFool by ART and by variegate on the same scores, every iterate of both recorded; it draws nothing at random.

ART 1.20 iterates in float32, as variegate does. What remains is the order of sums: ART takes the gradient of each class
and subtracts, variegate differentiates the difference.
"""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from variegate.adapters.art import art_classifier
from variegate.attacks.base import AttackResult
from variegate.attacks.white_box.deepfool import DeepFool, DeepFoolScores
from variegate.attacks.white_box.toolbox import log_scores
from variegate.models.classifier import Classifier
from variegate.types import TakesInputs


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Iterates:
    """What one side did.

    Attributes:
        adversarials: float32 (N, *input_shape), what the attack returned.
        points: float32 (T, *input_shape), each point that was labelled, the clean inputs first.
        result: variegate's own result, None for ART.
    """

    adversarials: Tensor
    points: Tensor
    result: AttackResult | None = None


@final
class RecordingTarget(TakesInputs):
    """A `Differentiable` over a classifier that keeps every point that `predict` was asked for."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier, self.input_spec = classifier, classifier.input_spec
        self.points: list[Tensor] = []

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return self._classifier.num_classes

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._classifier.device

    def scores(self, x: Tensor) -> Tensor:
        """Return the scores, unrecorded."""
        return self._classifier.scores(x)

    def predict(self, x: Tensor) -> Tensor:
        """Return the labels."""
        self.points.append(x.detach().clone())
        return self._classifier.predict(x)

    def differentiable_scores(self, x: Tensor) -> Tensor:
        """Return the scores, unrecorded."""
        return self._classifier.differentiable_scores(x)


@final
class _RecordingScores(nn.Module):
    """Returns scores or log scores as ART's "logits", and keeps the points that it predicts without gradients."""

    def __init__(self, classifier: Classifier, scores: DeepFoolScores) -> None:
        super().__init__()
        self._classifier, self._log = [classifier], scores == "log"
        self.points: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, *input_shape) to (M, n)."""
        x = x.float()
        if not torch.is_grad_enabled():
            self.points.append(x.detach().clone())
        scores = self._classifier[0].differentiable_scores(x)
        return log_scores(scores) if self._log else scores


def replay_art(
    classifier: Classifier,
    images: Tensor,
    *,
    scores: DeepFoolScores = "probabilities",
    candidates: int = 10,
    iterations: int = 100,
    overshoot: float = 1e-6,
) -> Iterates:
    """Run ART's DeepFool, one image after the other.

    Args:
        classifier: what is attacked.
        images: float32 (N, *input_shape).
        scores: what ART takes for logits.
        candidates: ART's `nb_grads`.
        iterations: ART's `max_iter`.
        overshoot: ART's `epsilon`.
    """
    from art.attacks.evasion import DeepFool as ArtDeepFool

    module = _RecordingScores(classifier, scores)
    attack = ArtDeepFool(
        art_classifier(module, classifier),
        max_iter=iterations,
        epsilon=overshoot,
        nb_grads=candidates,
        batch_size=1,
        verbose=False,
    )
    found: Any = attack.generate(images.numpy())
    return Iterates(adversarials=torch.from_numpy(found), points=torch.cat(module.points))


def replay_variegate(
    classifier: Classifier,
    images: Tensor,
    *,
    scores: DeepFoolScores = "probabilities",
    candidates: int = 10,
    iterations: int = 100,
    overshoot: float = 1e-6,
) -> Iterates:
    """Run variegate's DeepFool with `semantics="art"`, all images at once; arguments as for `replay_art`."""
    target = RecordingTarget(classifier)
    attack = DeepFool(scores=scores, semantics="art", candidates=candidates, iterations=iterations, overshoot=overshoot)
    result = attack.run(target, images, classifier.predict(images), seed=0)
    return Iterates(adversarials=result.adversarials, points=torch.cat(target.points), result=result)
