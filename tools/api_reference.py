"""Write docs/reference/api.md from the docstrings behind `import variegate as vg`: api_reference.py [FILE]."""

import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import variegate

_INTRODUCTION = """# API reference

`import variegate as vg` offers these names and loads each when it is first used; the import itself loads no
torch. `make api-reference` generates this page from their docstrings. Everything else is a module below `variegate`.
"""
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Example|Examples):$")


def reference() -> str:
    """Return the page."""
    names = [name for name in variegate.__all__ if name != "__version__"]
    return "\n".join([_INTRODUCTION, *(line for name in names for line in _entry(name, getattr(variegate, name)))])


def _entry(name: str, value: object) -> Iterator[str]:
    yield f"## `vg.{name}`\n"
    yield f"```text\n{_signature(name, value)}\n```\n"
    yield _markdown(inspect.getdoc(value) or "")
    if inspect.isclass(value) and not issubclass(value, BaseException):
        methods = [line for each, member in vars(value).items() if (line := _method(each, member))]
        if methods:
            yield "Methods and properties:\n"
            yield "\n".join(methods) + "\n"


def _signature(name: str, value: object) -> str:
    if isinstance(value, type) and issubclass(value, Enum):
        return f"{name}: {' | '.join(repr(str(member)) for member in value)}"
    try:
        parameters = str(inspect.signature(value))  # type: ignore[arg-type]  # a class without one raises
    except (TypeError, ValueError):
        return name
    parameters = re.sub(r"<(?:function )?(\w+)(?: object)?(?: at 0x[0-9a-f]+)?>", r"\1", parameters)
    parameters = re.sub(r"\b(?:[a-z_]+\.)+([A-Za-z_]\w*)", r"\1", parameters)
    one = f"{name}{parameters}"
    return one if len(one) <= 100 else one.replace("(", "(\n    ", 1).replace(", ", ",\n    ")


def _method(name: str, member: object) -> str:
    if name.startswith("_"):
        return ""
    function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    if isinstance(function, property):
        shown = f"`{name}`"
    elif inspect.isfunction(function):
        parameters = [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]
        shown = f"`{name}({', '.join(parameters)})`"
    else:
        return ""
    summary = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    return f"- {shown}: {summary}"


def _markdown(docstring: str) -> str:
    """Return a Google docstring as Markdown: its sections become headings in bold with a list."""
    lines: list[str] = []
    in_section = False
    for line in docstring.splitlines():
        if _SECTION.match(line):
            lines += [f"**{line[:-1]}**", ""]
            in_section = True
        elif in_section and line and not line.startswith(" "):
            in_section = False
            lines.append(line)
        elif in_section and re.match(r" {4}\S", line):
            field, colon, rest = line.strip().partition(": ")
            lines.append(f"- `{field}`: {rest}" if colon and len(field) < 60 else f"- {line.strip()}")
        elif in_section and line:
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def main(page: Path) -> None:
    """Write the page."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference/api.md"))
