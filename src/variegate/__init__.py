"""variegate: hand every buyer of a classifier a different copy, and measure how far replication attacks are prevented.

`import variegate as vg` is cheap: it imports no torch. Each name below is loaded the first time it is used.
What they are for, and everything behind them: docs/reference/api.md.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    # secrets and keys
    "SellerSecret": "keys",
    "KeyContext": "keys",
    # originals and inputs
    "Bounds": "types",
    "Norm": "types",
    "Classifier": "models.classifier",
    "build_architecture": "models.architectures.catalog",
    "load_dataset": "data.catalog",
    "train_classifier": "training.supervised",
    # copies
    "QimSpec": "rewriters.qim",
    "SpreadSpectrumSpec": "rewriters.spread_spectrum",
    "PermutationSpec": "rewriters.permutation",
    "ComposedSpec": "rewriters.catalog",
    "rewrite": "rewriters.base",
    "RewrittenCopy": "rewriters.base",
    "CopyBank": "models.bank",
    # attacks
    "HardLabelOracle": "oracles.hard_label",
    "MajorityVote": "oracles.voting",
    "run_attack": "attacks.driver",
    "Boundary": "attacks.boundary",
    "HopSkipJump": "attacks.hopskipjump",
    "GeoDA": "attacks.geoda",
    "CGBA": "attacks.cgba",
    "SurFree": "attacks.surfree",
    "RayS": "attacks.rays",
    # experiments and records
    "calibrate_spec": "experiments.calibration",
    "AuditSpec": "experiments.replication",
    "audit_replicate": "experiments.replication",
    "load_record": "records.load",
    "render_text": "report.render",
    "render_html": "report.render",
    # the seller's desk
    "Authority": "authority.authority",
    "VariegateError": "errors",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 (names of _HOMES are strings)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
