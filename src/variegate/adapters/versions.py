"""Which versions of the attack libraries are installed."""

from importlib.metadata import PackageNotFoundError, version

LIBRARIES = {"art": "adversarial-robustness-toolbox", "foolbox": "foolbox"}
"""Short name (also that of the extra) -> distribution."""


def library_versions() -> dict[str, str | None]:
    """Return the versions by short name; None where a library is not installed."""
    found: dict[str, str | None] = {}
    for name, distribution in LIBRARIES.items():
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:
            found[name] = None
    return found
