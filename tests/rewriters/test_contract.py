"""Every rewriter in the catalog, and some less usual specs of each, keep the contract that plug-ins are tested by."""

import pytest

from variegate.rewriters.catalog import REWRITERS, ComposedSpec
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec
from variegate.testing.rewriter_contract import REWRITER_CHECKS, example_specs

OTHERS = {
    "qim of one message": QimSpec(messages_per_class=1, quantization_step=0.3, strength=1.0),
    "qim with all options": QimSpec(
        messages_per_class=3,
        quantization_step=0.05,
        strength=4.0,
        weights=(1.0, 0.5, 0.25),
        dither=False,
        zero_mean=False,
        normalise_input=True,
        projection="hadamard",
    ),
    "qim sparse": QimSpec(messages_per_class=2, projection="sparse"),
    "qim of the least step": QimSpec(messages_per_class=2, quantization_step=0.02),
    "spread spectrum with all options": SpreadSpectrumSpec(
        strength=2.0, zero_mean=False, normalise_input=True, projection="hadamard"
    ),
    "spread spectrum, strong": SpreadSpectrumSpec(strength=16.0),
    "permutation with fixed points": PermutationSpec(alpha=0.5, derangement=False),
    "permutation with dummies": PermutationSpec(alpha=0.9, dummy_classes=6),
    "composition of three": ComposedSpec(
        parts=(
            SpreadSpectrumSpec(strength=0.2),
            QimSpec(messages_per_class=2),
            ComposedSpec(parts=(PermutationSpec(), PermutationSpec())),
        )
    ),
}
SPECS = {**example_specs(), **OTHERS}


def test_examples_cover_the_catalog():
    assert set(example_specs()) == set(REWRITERS)
    assert all(spec.rewriter == name for name, spec in example_specs().items())


@pytest.mark.parametrize("check", REWRITER_CHECKS)
@pytest.mark.parametrize("name", SPECS)
def test_contract(name, check):
    REWRITER_CHECKS[check](SPECS[name])
