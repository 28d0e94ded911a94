"""What every rewriter must do, as checks by name: `REWRITER_CHECKS[name](spec)` returns or raises `AssertionError`.

The checks know nothing of a rewriter but its spec. `example_specs` gives one spec for each rewriter in the catalog, so
that a new rewriter is tested by being listed; a plug-in's author gives his own.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import FrozenInstanceError

import numpy as np
import torch
from torch import Tensor

from variegate.errors import ConfigurationError
from variegate.manifest import canonical_json
from variegate.models.classifier import Classifier, weights_digest
from variegate.rewriters.base import AbstractSpec, original_shape, rewrite
from variegate.rewriters.catalog import REWRITERS, ComposedSpec, spec_from_dict
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.testing.seller import known_key, small_classifier
from variegate.types import Bounds

RewriterCheck = Callable[[AbstractSpec], None]

_SETTINGS: tuple[tuple[tuple[int, ...], Bounds], ...] = (
    ((1, 8, 8), Bounds()),
    ((40,), Bounds(-1.0, 1.0)),
    ((5, 9), Bounds(0.0, 255.0)),
    ((3, 4, 6), Bounds(-0.3, 0.7)),
)
_ROUNDING = 3e-5  # of a score: products of float32 are added in another order in another batch


def example_specs() -> Mapping[str, AbstractSpec]:
    """Return one spec for each rewriter in the catalog: the default one where it has one.

    Raises:
        AssertionError: a rewriter in the catalog has no default spec and no example here.
    """
    given: dict[str, AbstractSpec] = {"composed": ComposedSpec(parts=(QimSpec(), PermutationSpec(alpha=0.3)))}
    for name, kind in REWRITERS.items():
        if name not in given:
            try:
                given[name] = kind()
            except TypeError as error:
                raise AssertionError(
                    f"the rewriter {name!r} has no default spec; add an example to {__name__}"
                ) from error
    return given


def _originals() -> Iterator[Classifier]:
    for input_shape, bounds in _SETTINGS:
        yield small_classifier(input_shape=input_shape, bounds=bounds)


def _inputs(original: Classifier, count: int = 12) -> Tensor:
    """Return random inputs, the last two of them the bounds themselves."""
    x = torch.rand((count, *original.input_shape), generator=torch.Generator().manual_seed(5))
    x[-2], x[-1] = 0.0, 1.0
    bounds = original.bounds
    return (bounds.lower + bounds.range * x).clamp(bounds.lower, bounds.upper)


def _check_same_key_same_copy(spec: AbstractSpec) -> None:
    for original in _originals():
        x = _inputs(original)
        first = rewrite(original, known_key(1), spec).scores(x)
        rewrite(original, known_key(2), spec).scores(x)
        again = rewrite(original, known_key(1), spec.from_dict(spec.to_dict())).scores(x)
        assert torch.equal(first, again), "two copies of one key and spec differ"


def _check_other_key_other_copy(spec: AbstractSpec) -> None:
    for original in _originals():
        x = _inputs(original)
        one, other = (rewrite(original, known_key(number), spec).scores(x) for number in (1, 2))
        assert not torch.equal(one, other), "copies of two keys answer alike"


def _check_original_unchanged(spec: AbstractSpec) -> None:
    for original in _originals():
        x = _inputs(original)
        before, scores, given = weights_digest(original.module), original.scores(x), x.clone()
        copy = rewrite(original, known_key(1), spec)
        copy.scores(x)
        copy.predict(x)
        assert weights_digest(original.module) == before, "the original's weights were changed"
        assert torch.equal(original.scores(x), scores), "the original answers otherwise after rewriting"
        assert torch.equal(x, given), "the inputs were changed"


def _check_scores_are_normalised(spec: AbstractSpec) -> None:
    for original in _originals():
        x = _inputs(original)
        copy = rewrite(original, known_key(1), spec)
        scores, labels = copy.scores(x), copy.predict(x)
        assert scores.dtype is torch.float32, f"scores must be float32; got {scores.dtype}"
        assert scores.shape == (x.shape[0], original.num_classes), f"scores have shape {tuple(scores.shape)}"
        assert bool(scores.isfinite().all()), "scores must be finite"
        error = float((scores.abs().sum(1) - 1.0).abs().max())
        assert error < _ROUNDING, f"the scores' L1 norm must be 1; it is off by {error:g}"
        assert labels.dtype is torch.int64, f"labels must be int64; got {labels.dtype}"
        assert torch.equal(labels, scores.argmax(1)), "a label must be the class of the largest score"


def _check_shape_and_bounds_are_kept(spec: AbstractSpec) -> None:
    for original in _originals():
        copy = rewrite(original, known_key(1), spec)
        assert copy.input_shape == original.input_shape
        assert copy.bounds == original.bounds
        assert copy.num_classes == original.num_classes


def _check_units_do_not_matter(spec: AbstractSpec) -> None:
    """The same picture in [0, 1] and in [-1, 3] is treated alike: parameters are in units of the input range."""
    plain, wide = (small_classifier(bounds=bounds) for bounds in (Bounds(), Bounds(-1.0, 3.0)))
    x = _inputs(plain)
    scores = plain.scores(x)
    key = known_key(1)
    one = spec.build(key, original_shape(plain))
    other = spec.build(key, original_shape(wide))
    if one.layers:
        return  # what it reads of the original is not in the input's units
    difference = float((one(x, scores, {}) - other(4.0 * x - 1.0, scores, {})).abs().max())
    assert difference < 20 * _ROUNDING, f"scores differ by {difference:g} between [0, 1] and [-1, 3]"


def _check_rows_are_independent(spec: AbstractSpec) -> None:
    for original in _originals():
        x = _inputs(original)
        copy = rewrite(original, known_key(1), spec)
        together = copy.scores(x)
        alone = torch.cat([copy.scores(x[i : i + 1]) for i in range(x.shape[0])])
        backwards = copy.scores(x.flip(0)).flip(0)
        for other in (alone, backwards):
            difference = float((together - other).abs().max())
            assert difference < _ROUNDING, f"a row's scores depend on its batch, by {difference:g}"


def _check_empty_batch(spec: AbstractSpec) -> None:
    for original in _originals():
        copy = rewrite(original, known_key(1), spec)
        nothing = torch.empty((0, *original.input_shape))
        assert copy.scores(nothing).shape == (0, original.num_classes)
        assert copy.predict(nothing).shape == (0,)


def _check_gradients(spec: AbstractSpec) -> None:
    for original in _originals():
        copy = rewrite(original, known_key(1), spec)
        if copy.head.layers:
            return
        x = _inputs(original).requires_grad_()
        scores = copy.differentiable_scores(x)
        assert torch.allclose(scores.detach(), copy.scores(x.detach()), atol=_ROUNDING), "the two ways to score differ"
        (slope,) = torch.autograd.grad(scores[:, 0].sum(), x)
        assert bool(slope.isfinite().all()), "gradients must be finite"


def _check_key_not_seed(spec: AbstractSpec) -> None:
    original = small_classifier()
    for seed in (0, b"\0" * 32, "key", None):
        message = ""
        try:
            rewrite(original, seed, spec)  # type: ignore[arg-type]
        except ConfigurationError as error:
            message = str(error)
        assert message, f"a copy was made from {seed!r} in place of a CopyKey"
        assert type(seed).__name__ in message, f"the message does not say what was given: {message}"


def _check_spec_round_trip(spec: AbstractSpec) -> None:
    values = spec.to_dict()
    text = json.dumps(values)
    again = type(spec).from_dict(values)
    assert values == json.loads(text), "to_dict must give plain JSON values, and from_dict must not change them"
    assert again == spec, "from_dict(to_dict()) must give the spec back"
    assert again.digest == spec.digest, "equal specs must have equal digests"
    assert again.to_dict() == values
    assert values["rewriter"] == spec.rewriter
    canonical_json(values)
    from_text = type(spec).from_dict(json.loads(text))
    assert from_text.digest == spec.digest, "the digest must survive JSON"
    if spec.rewriter in REWRITERS:
        assert spec_from_dict(values) == spec, "the catalog must find the spec's class"


def _check_spec_is_frozen(spec: AbstractSpec) -> None:
    assert hash(spec) == hash(type(spec).from_dict(spec.to_dict())), "equal specs must have equal hashes"
    for name in [key for key in spec.to_dict() if key != "rewriter"]:
        try:
            setattr(spec, name, None)
        except (FrozenInstanceError, AttributeError):
            continue
        raise AssertionError(f"the spec's {name} can be changed")


def _check_unknown_parameter(spec: AbstractSpec) -> None:
    for mistake, wrong in (("colour", {"colour": 1}), ("another", {"rewriter": "another"})):
        message = ""
        try:
            type(spec).from_dict({**spec.to_dict(), **wrong})
        except ConfigurationError as error:
            message = str(error)
        assert message, f"from_dict took {wrong}"
        assert mistake in message, f"the message does not name the mistake: {message}"


def _check_no_secret_shown(spec: AbstractSpec) -> None:
    key = known_key(1)
    secret = key.reveal()
    hidden = (secret.hex(), repr(secret), str(list(secret))[1:-1], str(int.from_bytes(secret, "big")))
    for original in _originals():
        copy = rewrite(original, key, spec)
        shown = (repr(spec), repr(copy), repr(copy.head), str(copy.head), json.dumps(spec.to_dict()))
        for text in shown:
            assert not any(form in text for form in hidden), "the key can be read from a repr"
            assert "tensor(" not in text, "messages can be read from a repr"


def _check_nothing_keyed_is_saved(spec: AbstractSpec) -> None:
    for original in _originals():
        copy = rewrite(original, known_key(1), spec)
        saved = list(copy.head.state_dict())
        assert not saved, f"state_dict holds what the key decides: {', '.join(saved)}"
        assert not list(copy.head.parameters()), "a head has no parameters to train; use buffers that are not saved"


def _check_no_global_randomness(spec: AbstractSpec) -> None:
    original = small_classifier()
    x = _inputs(original)
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002 - must stay as it is
    rewrite(original, known_key(1), spec).scores(x)
    after = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    assert torch.equal(before[0], after[0]), "torch's global generator was used"
    assert before[1:] == after[1:], "a global generator was used"


REWRITER_CHECKS: Mapping[str, RewriterCheck] = {
    "same_key_same_copy": _check_same_key_same_copy,
    "other_key_other_copy": _check_other_key_other_copy,
    "original_unchanged": _check_original_unchanged,
    "scores_are_normalised": _check_scores_are_normalised,
    "shape_and_bounds_are_kept": _check_shape_and_bounds_are_kept,
    "units_do_not_matter": _check_units_do_not_matter,
    "rows_are_independent": _check_rows_are_independent,
    "empty_batch": _check_empty_batch,
    "gradients": _check_gradients,
    "key_not_seed": _check_key_not_seed,
    "spec_round_trip": _check_spec_round_trip,
    "spec_is_frozen": _check_spec_is_frozen,
    "unknown_parameter": _check_unknown_parameter,
    "no_secret_shown": _check_no_secret_shown,
    "nothing_keyed_is_saved": _check_nothing_keyed_is_saved,
    "no_global_randomness": _check_no_global_randomness,
}
"""Checks by name; each takes a spec."""
