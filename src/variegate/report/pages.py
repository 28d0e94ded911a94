"""The templates of the pages, and how they are filled: everything escaped, nothing undefined."""

from collections.abc import Iterable

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from variegate import __version__
from variegate.report.glossary import GLOSSARY
from variegate.report.palette import BLACK, group_styles
from variegate.report.words import NOTHING, clean, group_title


def render_template(name: str, **context: object) -> str:
    """One of this package's templates. Every text is escaped, and an unknown name in a template is an error."""
    environment = Environment(
        loader=PackageLoader("variegate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["trusted_svg"] = Markup
    environment.globals.update(nothing=NOTHING, glossary=GLOSSARY, version=__version__)
    return environment.get_template(name).render(context)


def swatches(names: Iterable[str]) -> dict[str, str]:
    """CSS colours by group title, the same as in the figures."""
    styles = group_styles(names).items()
    return {group_title(name): "currentColor" if look.colour == BLACK else look.colour for name, look in styles}


def _finalize(value: object) -> object:
    return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
