"""Specs refuse what cannot work, say so in a sentence, and equal specs are one spec."""

import json
import math

import numpy as np
import pytest

from variegate.errors import ConfigurationError
from variegate.rewriters.base import original_shape, rewrite
from variegate.rewriters.catalog import REWRITERS, ComposedSpec, find_spec_class, spec_from_dict
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec
from variegate.testing.seller import known_key, small_classifier

BAD_QIM = [
    ({"messages_per_class": 0}, "messages_per_class must be at least 1; got 0"),
    ({"messages_per_class": -3}, "at least 1; got -3"),
    ({"messages_per_class": 2.0}, "needs a whole number as messages_per_class; got float 2.0"),
    ({"messages_per_class": True}, "needs a whole number as messages_per_class; got bool True"),
    ({"quantization_step": 0.0}, "quantization_step must be .* got 0.0"),
    ({"quantization_step": -0.1}, "quantization_step must be .* got -0.1"),
    ({"quantization_step": math.inf}, "quantization_step must be .* got inf"),
    ({"quantization_step": math.nan}, "quantization_step must be .* got nan"),
    ({"quantization_step": 1e-300}, "quantization_step must be from 0.001 .* got 1e-300"),
    ({"quantization_step": 0.00099}, "quantization_step must be from 0.001 .* got 0.00099"),
    ({"quantization_step": "0.1"}, "needs a number as quantization_step; got str '0.1'"),
    ({"strength": -1.0}, "strength must be from 0 .* got -1.0"),
    ({"strength": math.nan}, "strength must be from 0 .* got nan"),
    ({"strength": 1e300}, r"strength must be from 0 .* got 1e\+300"),
    ({"strength": 10**400}, "needs a number as strength; got int"),
    ({"strength": None}, "needs a number as strength; got NoneType None"),
    ({"weights": (1.0,)}, "weights must be 16 finite numbers .* got 1"),
    ({"messages_per_class": 2, "weights": (1.0, -1.0)}, "weights must be 2 finite numbers of at least 0"),
    ({"messages_per_class": 2, "weights": (0.0, 0.0)}, "not all 0"),
    ({"messages_per_class": 2, "weights": (1.0, math.inf)}, "weights must be 2 finite numbers"),
    ({"messages_per_class": 2, "weights": "ab"}, "needs a list of numbers as weights; got str 'ab'"),
    ({"messages_per_class": 1, "weights": ("1",)}, "needs a list of numbers as weights"),
    ({"dither": 1}, "needs true or false as dither; got int 1"),
    ({"zero_mean": "yes"}, "needs true or false as zero_mean; got str 'yes'"),
    ({"projection": "fourier"}, "projection must be auto, dense, hadamard, sparse; got 'fourier'"),
    ({"projection": None}, "projection must be auto, dense, hadamard, sparse; got None"),
]
BAD = [
    *[(QimSpec, values, message) for values, message in BAD_QIM],
    (SpreadSpectrumSpec, {"strength": -0.1}, "strength must be from 0 .* got -0.1"),
    (SpreadSpectrumSpec, {"strength": 1e39}, "strength must be from 0"),
    (SpreadSpectrumSpec, {"projection": "x"}, "projection must be auto"),
    (SpreadSpectrumSpec, {"normalise_input": 0}, "needs true or false as normalise_input"),
    (PermutationSpec, {"alpha": 1.0}, "alpha must be at least 0 and below 1, .* got 1.0"),
    (PermutationSpec, {"alpha": -0.1}, "alpha must be .* got -0.1"),
    (PermutationSpec, {"alpha": math.nan}, "alpha must be .* got nan"),
    (PermutationSpec, {"dummy_classes": -1}, "dummy_classes must be at least 0; got -1"),
    (PermutationSpec, {"dummy_classes": 1.5}, "needs a whole number as dummy_classes"),
    (PermutationSpec, {"derangement": 1}, "needs true or false as derangement"),
    (ComposedSpec, {"parts": ()}, "at least 2 rewriters; got 0"),
    (ComposedSpec, {"parts": (QimSpec(),)}, "at least 2 rewriters; got 1"),
    (ComposedSpec, {"parts": (QimSpec(), "qim")}, "parts must be specs of rewriters; got str"),
]


@pytest.mark.parametrize(("kind", "values", "message"), BAD)
def test_out_of_range(kind, values, message):
    with pytest.raises(ConfigurationError, match=message):
        kind(**values)
    if kind is not ComposedSpec:
        with pytest.raises(ConfigurationError, match=message):
            kind.from_dict({"rewriter": kind.rewriter, **values})


@pytest.mark.parametrize("kind", REWRITERS.values())
def test_unknown_parameter_lists_the_known(kind):
    values = {"rewriter": kind.rewriter, "stregnth": 1.0}
    if kind is ComposedSpec:
        values["parts"] = [QimSpec().to_dict(), QimSpec().to_dict()]
    with pytest.raises(ConfigurationError, match=f"rewriter '{kind.rewriter}' has no parameter stregnth; it has .+"):
        kind.from_dict(values)


def test_another_rewriters_parameters_are_refused():
    with pytest.raises(ConfigurationError, match="parameters of the rewriter 'permutation', not of 'qim'"):
        QimSpec.from_dict({"rewriter": "permutation"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "needs the field 'rewriter'"),
        ({"rewriter": 3}, "needs the field 'rewriter'"),
        ([], "needs the field 'rewriter'"),
        ("qim", "needs the field 'rewriter'"),
        ({"rewriter": "quim"}, "no rewriter 'quim'; choose from composed, permutation, qim, spread_spectrum"),
        ({"rewriter": "composed"}, "needs a list 'parts' of rewriters; got NoneType"),
        ({"rewriter": "composed", "parts": "qim"}, "needs a list 'parts' of rewriters; got str"),
        ({"rewriter": "composed", "parts": [1, 2]}, "needs the field 'rewriter'"),
    ],
)
def test_catalog_refuses(values, message):
    with pytest.raises(ConfigurationError, match=message):
        spec_from_dict(values)


def test_catalog_finds_every_class():
    assert {name: find_spec_class(name) for name in REWRITERS} == dict(REWRITERS)


def test_equal_specs_have_equal_digests_however_the_numbers_are_written():
    spec = QimSpec(strength=2.0, quantization_step=1.0, messages_per_class=2, weights=(1.0, 2.0))
    for other in (
        QimSpec(strength=2, quantization_step=1, messages_per_class=2, weights=(1, 2)),
        QimSpec(
            strength=np.float64(2), quantization_step=np.float32(1), messages_per_class=np.int64(2), weights=[1, 2]
        ),
        QimSpec.from_dict(json.loads('{"strength":2,"quantization_step":1e0,"messages_per_class":2,"weights":[1,2]}')),
    ):
        assert other == spec
        assert other.digest == spec.digest
        assert hash(other) == hash(spec)
        assert type(other.strength) is float
        assert type(other.messages_per_class) is int


@pytest.mark.parametrize(
    "change",
    [
        {"messages_per_class": 17},
        {"quantization_step": 0.1000001},
        {"strength": 2.5},
        {"weights": (1.0,) * 16},
        {"dither": False},
        {"zero_mean": False},
        {"normalise_input": True},
        {"projection": "dense"},
    ],
)
def test_every_parameter_is_in_the_digest(change):
    assert QimSpec(**change).digest != QimSpec().digest


def test_a_spec_that_does_not_fit_the_original_says_so_when_built():
    point = small_classifier(input_shape=(1,))
    with pytest.raises(ConfigurationError, match="zero_mean"):
        rewrite(point, known_key(), QimSpec())
    with pytest.raises(ConfigurationError, match="at most 16 rows; got 160"):
        QimSpec(projection="hadamard").build(known_key(), original_shape(small_classifier(input_shape=(12,))))
