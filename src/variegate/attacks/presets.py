"""Named settings of attacks.

"reproduction" is how "Mitigating Adversarial Attacks by Distributing Different Copies to Different Users" (ASIACCS
2023, section 5) ran its attacks, through ART with ART's other defaults: Boundary with 5,000 iterations and 25 trials,
HopSkipJump with 50 iterations and 10,000 evaluations at most, GeoDA with 4,000 queries. The paper gives no query budget
besides, so a run of these needs none.
"""

from collections.abc import Mapping

from variegate.errors import ConfigurationError

PRESETS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "reproduction": {
        "boundary": {"semantics": "art", "iterations": 5000, "trials": 25, "starts": "uniform"},
        "hopskipjump": {"semantics": "art", "iterations": 50, "most_probes": 10_000, "starts": "uniform"},
        "geoda": {"semantics": "art", "max_queries": 4000},
        "deepfool": {"semantics": "art", "scores": "probabilities"},
    },
}


def preset_of(name: str, attack: str) -> Mapping[str, object]:
    """Return the hyper-parameters that the preset gives the attack (its full name).

    Raises:
        ConfigurationError: there is no such preset, or it says nothing of this attack.
    """
    if name not in PRESETS:
        raise ConfigurationError(f"there is no preset {name!r}; choose from {', '.join(sorted(PRESETS))}")
    if attack not in PRESETS[name]:
        known = ", ".join(sorted(PRESETS[name]))
        raise ConfigurationError(f"the preset {name!r} has no settings for {attack}; it has some for {known}")
    return PRESETS[name][attack]
