"""Blocks as one self-contained HTML page: figures and style inside, no script, nothing loaded from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from variegate import __version__
from variegate.report.blocks import Block, Figures, Heading, Pairs, Rows, Text
from variegate.report.formatting import NOTHING, clean, group_title
from variegate.report.palette import BLACK, group_styles


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What stands around the blocks.

    Attributes:
        title: of the page.
        records: how many it is made from.
        words: terms and what they mean, at its end.
        groups: names of groups of copies, whose colours stand next to them in tables.
        intro: a sentence below the title.
    """

    title: str
    records: int
    words: Sequence[tuple[str, str]]
    groups: Sequence[str] = ()
    intro: str = ""


def render_page(page: Page, blocks: Iterable[Block]) -> str:
    """The page. Its contents link to every heading of level 2 that has an anchor."""
    shown = [block for block in blocks if block.where != "text"]
    parts = [_part(block, f"b{number}-") for number, block in enumerate(shown, start=1)]
    links = [(block.anchor, block.text) for block in shown if isinstance(block, Heading) and _is_linked(block)]
    return render_template(
        "blocks.html.j2",
        page=page,
        parts=[part for part in parts if part is not None],
        contents=[*links, ("glossary", "Glossary")] if links else [],
        swatches=swatches(page.groups),
    )


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
    environment.globals.update(nothing=NOTHING, version=__version__)
    return environment.get_template(name).render(context)


def swatches(names: Iterable[str]) -> dict[str, str]:
    """CSS colours by group title, the same as in the figures."""
    styles = group_styles(names).items()
    return {group_title(name): "currentColor" if look.colour == BLACK else look.colour for name, look in styles}


def _is_linked(heading: Heading) -> bool:
    return heading.level == 2 and bool(heading.anchor)


def _part(block: Block, prefix: str) -> Mapping[str, Any] | None:
    """What the template prints for a block; None where there is nothing to print."""
    if isinstance(block, Heading):
        return None if block.level == 1 else {"kind": "heading", "block": block}
    if isinstance(block, Text):
        terms = [*zip(block.lines[::2], block.lines[1::2], strict=True)] if block.style == "terms" else []
        return {"kind": block.style, "block": block, "terms": terms} if block.lines else None
    if isinstance(block, Rows):
        return {"kind": "rows", "block": block} if block.table.rows else None
    if isinstance(block, Pairs):
        return {"kind": "pairs", "block": block}
    if isinstance(block, Figures):
        drawings = block.draw()
        if not drawings and not block.missing:
            return None
        return {"kind": "figures", "block": block, "drawings": drawings, "prefix": prefix}
    raise TypeError(f"there is no way to print a {type(block).__name__}")


def _finalize(value: object) -> object:
    return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
