"""The idea of a rewriter, shared by all of them.

A rewriter has a frozen spec, equal for all buyers, and a copy key, different for each. Spec and key build a head; the
head adds its decoder's output R_k(x) to the original's softmax scores M(x) and normalises by the L1 norm (paper,
equations 2 and 3):

    copy(x) = (M(x) + R_k(x)) / ||M(x) + R_k(x)||_1

Nothing else is stored of a copy: spec, key and original give it back. The messages are the same bit for bit on any
machine; the scores are float32 sums, whose last bits depend on the batch size, the device and the version of PyTorch.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, SupportsIndex, final

import torch
from torch import Tensor, nn

from variegate.errors import ConfigurationError, InputError, SecretError
from variegate.keys import CopyKey
from variegate.manifest import digest
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier, full_precision
from variegate.types import Bounds, InputSpec, TakesInputs

if TYPE_CHECKING:
    from variegate.rewriters.calibrate import Candidate, Trial


class NeverPickled:
    """Refuses to be pickled, and so `torch.save` and sending to another process; copies in memory are allowed.

    A head holds a copy's messages: whoever reads them has the copy's secret. What is to be kept or sent is spec, buyer
    and epoch; the seller's secret gives the rest back (`variegate.rewriters.base.rewrite`).
    """

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise SecretError(
            f"a {type(self).__name__} cannot be pickled, because it holds a copy's secret messages; keep the spec and "
            "derive the key again"
        )

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin


TYPICAL_DEVIATION = 0.25  # of natural images in [0, 1]; keeps normalised inputs on the scale of plain ones


def unit_input(x: Tensor, bounds: Bounds, *, normalise: bool) -> Tensor:
    """Return float32 (N, d): `x` flattened and mapped from `bounds` to [0, 1].

    With `normalise`, each input is divided by its own standard deviation and multiplied by `TYPICAL_DEVIATION`: with
    zero-mean messages this cancels any change of contrast and brightness (`docs/threat-model.md`).
    """
    flat = x.flatten(1)
    if bounds.lower != 0.0 or bounds.upper != 1.0:
        flat = (flat - bounds.lower) * (1.0 / bounds.range)
    if normalise:
        centred = flat - flat.mean(1, keepdim=True)
        variance = (centred * centred).mean(1, keepdim=True)
        least = torch.finfo(torch.float32).eps ** 2  # under the root: at 0 its gradient would be infinite
        flat = centred * (TYPICAL_DEVIATION / variance.clamp_min(least).sqrt())
    return flat


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalShape(TakesInputs):
    """All that a rewriter may know of the original before it runs: classes, input shape and bounds."""

    num_classes: int
    input_spec: InputSpec

    @property
    def input_size(self) -> int:
        """Values in one input (the paper's l)."""
        return self.input_spec.size


class AbstractHead(NeverPickled, nn.Module, ABC):
    """A keyed decoder R_k; subclasses say what it adds, this class says how it is added. It cannot be pickled."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the original's layers that `decode` reads from `features`; none unless a rewriter says so."""
        return ()

    @abstractmethod
    def decode(self, x: Tensor, scores: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Return R_k(x), float32 (N, n).

        Args:
            x: float32 (N, *input_shape), within the original's bounds.
            scores: float32 (N, n), the original's softmax scores.
            features: flattened outputs of the layers named by `layers`.
        """

    def forward(self, x: Tensor, scores: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Return the copy's scores, float32 (N, n)."""
        with full_precision(x.device):
            return normalised_sum(scores, self.decode(x, scores, features))


class AbstractSpec(ABC):
    """Parameters of a rewriter; subclasses are frozen dataclasses and equal for all buyers of a model.

    A rewriter's class also says what reports and calibrations need to know of it; all of that is optional.

    Attributes:
        rewriter: its name in the catalog and in records.
        title: its name for people; `rewriter` if empty.
        colour, marker: how figures draw it ("#rrggbb", matplotlib's letter); a spare style if empty.
        order: its place in tables, ascending.
        symbols: the paper's letters for its parameters, by the parameter's name.
    """

    rewriter: ClassVar[str]
    title: ClassVar[str] = ""
    colour: ClassVar[str] = ""
    marker: ClassVar[str] = ""
    order: ClassVar[int] = 100
    symbols: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def proposes(cls) -> bool:
        """Whether this rewriter can be calibrated."""
        return cls.propose.__func__ is not AbstractSpec.propose.__func__  # type: ignore[attr-defined]

    @classmethod
    def propose(cls, trial: "Trial", max_change: float) -> list["Candidate"]:  # noqa: ARG003 (an interface)
        """Return the specs worth trying on an original, within a budget of changed labels; calibration tries them.

        Raises:
            ConfigurationError: this rewriter has no calibration.
        """
        raise ConfigurationError(
            f"rewriter {cls.rewriter!r} cannot be calibrated: its class proposes no specs; write one by "
            "hand and keep it with: variegate spec save"
        )

    @abstractmethod
    def build(self, key: CopyKey, shape: OriginalShape) -> AbstractHead:
        """Return the head of the copy with this key.

        Raises:
            ConfigurationError: the spec does not fit the original's shape.
        """

    def check_types(self) -> None:
        """Settle the parameters' types; a spec's `__post_init__` calls it first.

        A whole number for a float becomes a float, so that equal specs have equal digests and give equal copies.

        Raises:
            ConfigurationError: a parameter is of another type than its field says.
        """
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            expected = _EXPECTED.get(field.type)
            if expected is None:
                continue
            try:
                settled = _settled(value, field.type)
            except (TypeError, OverflowError) as error:
                raise ConfigurationError(
                    f"rewriter {self.rewriter!r} needs {expected} as {field.name}; "
                    f"got {type(value).__name__} {value!r:.60}"
                ) from error
            object.__setattr__(self, field.name, settled)

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as JSON values, with the rewriter's name; `from_dict` is its inverse."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {"rewriter": self.rewriter, **{k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            ConfigurationError: unknown or missing parameters, or values out of range.
        """
        if (name := values.get("rewriter", cls.rewriter)) != cls.rewriter:
            raise ConfigurationError(f"these are parameters of the rewriter {name!r}, not of {cls.rewriter!r}")
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "rewriter"}
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(given) - known):
            raise ConfigurationError(
                f"rewriter {cls.rewriter!r} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known))}"
            )
        try:
            return cls(**given)
        except TypeError as error:
            raise ConfigurationError(f"rewriter {cls.rewriter!r} needs {', '.join(sorted(known))}: {error}") from error

    @property
    def digest(self) -> str:
        """The digest ("sha256:...") of the canonical JSON of `to_dict`."""
        return digest(self.to_dict())


_MOST_STRENGTH = 1e6  # beside scores that sum to 1; far larger ones overflow float32
_EXPECTED: Mapping[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    tuple[float, ...]: "a list of numbers",
}


def _settled(value: object, kind: object) -> object:
    """Return `value` as the plain Python type `kind` (NumPy's numbers are taken), or raise `TypeError`."""
    if kind == tuple[float, ...] and isinstance(value, (tuple, list)):
        return tuple(_settled(entry, float) for entry in value)
    if kind in (bool, str) and type(value) is kind:
        return value
    if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    raise TypeError


def check_strength(strength: float) -> None:
    """Raise `ConfigurationError` unless `strength` is a number that float32 can carry."""
    if not 0.0 <= strength <= _MOST_STRENGTH:
        raise ConfigurationError(f"strength must be from 0 to {_MOST_STRENGTH:g}; got {strength}")


def normalised_sum(scores: Tensor, decoded: Tensor) -> Tensor:
    """Return (scores + decoded) / ||scores + decoded||_1, float32 (N, n) (paper, equation 2)."""
    total = scores + decoded
    return total / total.abs().sum(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


def original_shape(original: Classifier) -> OriginalShape:
    """Return what a rewriter may know of `original`."""
    return OriginalShape(num_classes=original.num_classes, input_spec=original.input_spec)


@final
class RewrittenCopy(NeverPickled, TakesInputs):
    """What a buyer gets: the original with one keyed head. Answers like a `Classifier`; cannot be pickled."""

    def __init__(self, original: Classifier, head: AbstractHead) -> None:
        self.original, self.input_spec = original, original.input_spec
        self.head = head.to(original.device)
        self._bank = CopyBank(original, [self.head])

    @property
    def num_classes(self) -> int:
        """How many classes there are (n)."""
        return self.original.num_classes

    @property
    def device(self) -> torch.device:
        """Where the copy runs."""
        return self.original.device

    def scores(self, x: Tensor) -> Tensor:
        """Return float32 (N, n): the copy's L1-normalised scores."""
        return torch.cat([part[:, 0] for part in self._bank.iterate_scores(x)])

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (N,): the copy's hard labels."""
        return self._bank.predict_all(x)[:, 0]

    def differentiable_scores(self, x: Tensor) -> Tensor:
        """Return float32 (N, n) with gradients with respect to `x` (white-box: for the seller's own measurements).

        Raises:
            InputError: the head reads the original's features, which this path does not carry.
        """
        if self.head.layers:
            raise InputError(
                f"gradients through a head that reads layers {', '.join(self.head.layers)} are not available"
            )
        result: Tensor = self.head(x, self.original.differentiable_scores(x), {})
        return result


def rewrite(original: Classifier, key: CopyKey, spec: AbstractSpec) -> RewrittenCopy:
    """Make the copy that belongs to `key`: a pure function, the original is shared and not changed.

    Raises:
        ConfigurationError: `key` is not a `CopyKey` (a seed decides experiments, never copies), or the spec does not
            fit.
    """
    if not isinstance(key, CopyKey):
        raise ConfigurationError(f"a copy is made from a CopyKey, never from a seed; got {type(key).__name__}")
    return RewrittenCopy(original, spec.build(key, original_shape(original)))
