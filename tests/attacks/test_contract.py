"""Every attack in the catalog, in every mode, keeps the contract that plug-ins are tested by."""

import pytest

from variegate.attacks.boundary import Boundary
from variegate.attacks.catalog import ATTACKS
from variegate.attacks.cgba import CGBA
from variegate.attacks.geoda import GeoDA
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.rays import RayS
from variegate.attacks.subspaces import LowFrequencies
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
    "hopskipjump options": HopSkipJump(subspace=LowFrequencies(20), probe_radius=0.3, flip_rate=0.1),
    "boundary art": Boundary(semantics="art"),
    "cgba-h": CGBA(variant="cgba-h"),
    # All frequencies, because the checks' planes are white; and a tolerance at which ART's bisection tells something.
    "geoda paper linf": GeoDA(norm=Norm.LINF, sub_dim=30),
    "geoda art l2": GeoDA(semantics="art", tolerance=1e-4),
    "geoda art linf": GeoDA(semantics="art", norm=Norm.LINF, sub_dim=30, tolerance=1e-4),
    "rays random": RayS(first_direction="random"),
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
