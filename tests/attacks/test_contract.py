"""Every attack in the catalog, in every mode, keeps the contract that plug-ins are tested by."""

import pytest

from variegate.attacks.catalog import ATTACKS
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.testing.attack_contract import ATTACK_CHECKS
from variegate.types import Norm

CASES = {
    **{name: make() for name, make in ATTACKS.items()},
    **{
        f"hopskipjump {semantics} {norm.value}": HopSkipJump(norm=norm, semantics=semantics)
        for norm in Norm
        for semantics in ("paper", "art")
        if (norm, semantics) != (Norm.L2, "paper")  # the default
    },
}


# What a mode is known not to keep, and why.
KNOWN = {
    ("hopskipjump art linf", "units_do_not_matter"): "ART's L-infinity tolerance is in units of the input",
}


@pytest.mark.parametrize("check", ATTACK_CHECKS)
@pytest.mark.parametrize("name", CASES)
def test_contract(name, check, request):
    if (name, check) in KNOWN:
        request.applymarker(pytest.mark.xfail(reason=KNOWN[name, check], raises=AssertionError, strict=True))
    ATTACK_CHECKS[check](CASES[name])
