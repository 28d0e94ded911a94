"""Classifiers of two classes whose distance to the boundary is known exactly, for inputs of any rank in any bounds.

An attack on them can be judged against the truth: the ratio of what it found to `distance`.

`RecordingModel` wraps a `predict`: it remembers the queries and can fail on purpose.
"""

import math
from collections.abc import Callable
from typing import Protocol, final

import torch
from torch import Tensor, nn

from variegate.errors import ConfigurationError, InputError
from variegate.models.classifier import Classifier
from variegate.types import Bounds, InputSpec, Norm, TakesInputs


@final
class RecordingModel:
    """Wraps a `predict` and keeps every question and answer.

    Args:
        predict: float32 (M, *input_shape) -> int64 (M,).
        fail_at: which call raises `failure` instead of answering, counted from 1; None for none.
        failure: what it raises.
    """

    def __init__(
        self, predict: Callable[[Tensor], Tensor], *, fail_at: int | None = None, failure: BaseException | None = None
    ) -> None:
        self._predict, self._fail_at = predict, fail_at
        self._failure = failure if failure is not None else RuntimeError("the model is out of order")
        self._questions: list[Tensor] = []
        self._answers: list[Tensor] = []
        self.calls = 0

    def predict(self, x: Tensor) -> Tensor:
        """Answer, or fail."""
        self.calls += 1
        if self.calls == self._fail_at:
            raise self._failure
        labels = self._predict(x)
        self._questions.append(x.clone())
        self._answers.append(labels.clone())
        return labels

    @property
    def rows(self) -> int:
        """How many inputs were labelled."""
        return sum(len(part) for part in self._answers)

    @property
    def questions(self) -> Tensor:
        """All inputs that were labelled, float32 (rows, *input_shape); at least one."""
        return torch.cat(self._questions)

    def answer_to(self, x: Tensor) -> int | None:
        """Return the label that was given to exactly this input, bit for bit, or None if it was never asked."""
        for questions, answers in zip(self._questions, self._answers, strict=True):
            same = (questions == x).flatten(1).all(1).nonzero().flatten()
            if len(same):
                return int(answers[same[0]])
        return None


_BISECTIONS = 80


class ClosedForm(Protocol):
    """What both classifiers offer."""

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

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (N,): the labels, decided in float64, so that a batch does not change them."""
        ...

    def distance(self, x: Tensor, norm: Norm) -> Tensor:
        """Return float64 (N,): the exact norm of the smallest change within the bounds that changes the label."""
        ...

    def classifier(self) -> Classifier:
        """Return a `Classifier` with the same boundary (decided in float32)."""
        ...


@final
class LinearClassifier(TakesInputs):
    """Label 1 where w . x > b, else 0; the hyperplane passes through the middle of the bounds by default.

    Args:
        input_shape: shape of one input.
        bounds: the interval of valid input values.
        seed: decides w, which is standard normal and then scaled to L2 norm 1.
        offset: how far the hyperplane is moved from the middle of the bounds along w (L2, in the input's units).
    """

    def __init__(
        self, input_shape: tuple[int, ...], *, bounds: Bounds | None = None, seed: int = 0, offset: float = 0.0
    ) -> None:
        self.input_spec = InputSpec.resolve(None, input_shape, bounds)
        size = math.prod(self.input_shape)
        normal = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.normal = normal / normal.norm()  # (d,)
        middle = self.input_spec.middle
        self.threshold = middle * float(self.normal.sum()) + offset

    def inputs(self, count: int, *, distance: float, norm: Norm, seed: int = 1) -> Tensor:
        """Return float32 (count, *input_shape): inputs of label 0 at about that distance from the hyperplane.

        They are spread around the middle of the bounds; ask `distance` for the exact figure.

        Raises:
            ConfigurationError: the bounds do not leave room for that distance.
        """
        middle = self.input_spec.middle
        noise = torch.randn((count, self.normal.numel()), generator=torch.Generator().manual_seed(seed))
        points = middle + 0.08 * self.bounds.range * noise.clamp(-3.0, 3.0).double()
        dual = 1.0 if norm is Norm.L2 else float(self.normal.abs().sum())
        points = points - (self._gap(points) + distance * dual)[:, None] * self.normal
        if not bool(((points >= self.bounds.lower) & (points <= self.bounds.upper)).all()):
            raise ConfigurationError(f"inputs at distance {distance:g} do not fit into {self.bounds}; ask for less")
        inputs: Tensor = points.float()
        return inputs.view(count, *self.input_shape)

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (N,): 1 where w . x > b."""
        above: Tensor = self._gap(_flat(x, self.input_shape)) > 0
        return above.long()

    def distance(self, x: Tensor, norm: Norm) -> Tensor:
        """Return float64 (N,): exact, also where the bounds are in the way; infinite if no point of the bounds flips.

        The smallest change moves along -gap w (L2) or its sign (L-infinity), each coordinate until it meets its bound.
        """
        flat = _flat(x, self.input_shape)
        side = -torch.sign(self._gap(flat))[:, None]
        direction = side * (self.normal if norm is Norm.L2 else torch.sign(self.normal))

        def moved(size: Tensor) -> Tensor:
            return (flat + size[:, None] * direction).clamp(self.bounds.lower, self.bounds.upper)

        def crossed(size: Tensor) -> Tensor:
            over: Tensor = self._gap(moved(size)) * side[:, 0] >= 0
            return over

        most = torch.full((flat.shape[0],), self.bounds.range, dtype=torch.float64)
        if norm is Norm.L2:  # the smallest |w_i| decides when the last coordinate meets its bound
            most = most / float(self.normal.abs().clamp_min(1e-9).min())
        size = _first(crossed, most)
        change = moved(size) - flat
        found = change.norm(dim=1) if norm is Norm.L2 else change.abs().amax(1)
        return torch.where(crossed(most), found, torch.full_like(found, math.inf))

    def classifier(self) -> Classifier:
        """Return a `Classifier` of two logits, -gap / 2 and gap / 2."""
        linear = nn.Linear(self.normal.numel(), 2)
        with torch.no_grad():
            linear.weight.copy_(torch.stack([-0.5 * self.normal, 0.5 * self.normal]))
            linear.bias.copy_(torch.tensor([0.5 * self.threshold, -0.5 * self.threshold]))
        module = nn.Sequential(nn.Flatten(), linear)
        return Classifier(module, input_spec=self.input_spec, labels=2)

    def _gap(self, flat: Tensor) -> Tensor:
        gap: Tensor = (flat * self.normal).sum(1) - self.threshold
        return gap


@final
class QuadricClassifier(TakesInputs):
    """Label 1 inside the sphere of the given radius around the middle of the bounds, else 0.

    Args:
        input_shape: shape of one input.
        radius: of the sphere, in the input's units.
        bounds: the interval of valid input values.
    """

    def __init__(self, input_shape: tuple[int, ...], *, radius: float, bounds: Bounds | None = None) -> None:
        if not 0.0 < radius < math.inf:
            raise ConfigurationError(f"radius must be a positive number; got {radius}")
        self.input_spec = InputSpec.resolve(None, input_shape, bounds)
        self.radius = radius
        self.centre = self.input_spec.middle

    def inputs(self, count: int, *, length: float, seed: int = 1) -> Tensor:
        """Return float32 (count, *input_shape): inputs at that L2 distance from the centre.

        Raises:
            ConfigurationError: the bounds do not leave room.
        """
        generator = torch.Generator().manual_seed(seed)
        way = torch.randn((count, math.prod(self.input_shape)), generator=generator, dtype=torch.float64)
        points = self.centre + length * way / way.norm(dim=1, keepdim=True)
        if not bool(((points >= self.bounds.lower) & (points <= self.bounds.upper)).all()):
            raise ConfigurationError(f"inputs {length:g} from the centre do not fit into {self.bounds}; ask for less")
        inputs: Tensor = points.float()
        return inputs.view(count, *self.input_shape)

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (N,): 1 inside the sphere."""
        flat = _flat(x, self.input_shape) - self.centre
        inside: Tensor = (flat * flat).sum(1) < self.radius**2
        return inside.long()

    def distance(self, x: Tensor, norm: Norm) -> Tensor:
        """Return float64 (N,): exact.

        L2: along the ray from the centre. L-infinity from outside: every coordinate moves towards the centre; from
        inside: away from it, each as far as its bound.

        Raises:
            InputError: an L2 ray out of the sphere leaves the bounds first, where there is no closed form.
        """
        offset = _flat(x, self.input_shape) - self.centre
        length, half = offset.norm(dim=1), 0.5 * self.bounds.range
        if norm is Norm.L2:
            reach = offset.abs().amax(1) * self.radius / length.clamp_min(1e-12)
            if bool(((length < self.radius) & (reach > half)).any()):
                raise InputError("the nearest point of the sphere lies outside the bounds; choose other inputs")
            away: Tensor = (length - self.radius).abs()
            return away
        inside = length < self.radius
        size, most = offset.abs(), torch.full_like(length, self.bounds.range)

        def crossed(change: Tensor) -> Tensor:
            closest = (size - change[:, None]).clamp_min(0.0).norm(dim=1)
            farthest = (size + change[:, None]).clamp_max(half).norm(dim=1)
            return torch.where(inside, farthest >= self.radius, closest <= self.radius)

        return torch.where(crossed(most), _first(crossed, most), torch.full_like(length, math.inf))

    def classifier(self) -> Classifier:
        """Return a `Classifier` of two logits, +-(squared length - squared radius) / 2."""
        module = _Sphere(self.centre, self.radius)
        return Classifier(module, input_spec=self.input_spec, labels=2)


class _Sphere(nn.Module):
    def __init__(self, centre: float, radius: float) -> None:
        super().__init__()
        self.centre, self.radius = centre, radius

    def forward(self, x: Tensor) -> Tensor:
        gap = 0.5 * ((x - self.centre).flatten(1).square().sum(1) - self.radius**2)
        return torch.stack([gap, -gap], 1)


def _flat(x: Tensor, input_shape: tuple[int, ...]) -> Tensor:
    if tuple(x.shape[1:]) != input_shape:
        expected = ", ".join(["N", *map(str, input_shape)])
        raise InputError(f"inputs must have shape ({expected}); got {tuple(x.shape)}")
    return x.flatten(1).double()


class _Test(Protocol):
    def __call__(self, size: Tensor, /) -> Tensor:
        """Return bool (N,); False up to some size of each row and True from there on."""
        ...


def _first(crossed: _Test, most: Tensor) -> Tensor:
    """Return float64 (N,): the smallest size, up to `most`, at which each row has crossed."""
    low, high = torch.zeros_like(most), most.clone()
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        hit = crossed(middle)
        low, high = torch.where(hit, low, middle), torch.where(hit, middle, high)
    return high
