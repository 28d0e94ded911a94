"""The documentation keeps its promises: links lead somewhere, and the commands that it shows exist."""

import re
import shlex
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md"), *ROOT.glob("examples/**/*.md")]
)

FENCE = re.compile(r"^ *```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]\n]*(?:\n[^\]\n]*)?\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
HTML_TARGET = re.compile(r"<(?:img|a|source)\b[^>]*\b(?:src|href)=\"(?P<target>[^\"]+)\"")
HEADING = re.compile(r"^#{1,6}\s+(?P<text>.+?)\s*#*$", re.MULTILINE)
INLINE_CALL = re.compile(r"`(?P<line>variegate +[^`]+)`")
SHELL = {"", "bash", "console", "sh", "shell"}


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """The page without code blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text("utf-8")))


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get, by GitHub's rule: lower case, no punctuation, dashes for spaces."""
    found: set[str] = set()
    for match in HEADING.finditer(FENCE.sub("", page.read_text("utf-8"))):
        text = re.sub(r"[^\w\- ]", "", match["text"].lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{text}-{number}" if number else text) in found:
            number += 1
        found.add(anchor)
    return found


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_relative_links_resolve(page):
    text = prose(page)
    broken = []
    for match in [*LINK.finditer(text), *HTML_TARGET.finditer(text)]:
        target = match["target"]
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        lost = not path.exists() or not path.is_relative_to(ROOT)
        if lost or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    assert not broken, f"{page_id(page)} links to nothing: {', '.join(broken)}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_page_starts_with_a_title(page):
    assert page.read_text("utf-8").startswith(("# ", "<")), f"{page_id(page)} does not start with a title"


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in page.read_text("utf-8")], ids=page_id)
def test_python_examples_run(page, tmp_path, monkeypatch):
    """The blocks of a page, one after the other, as a program of its own."""
    monkeypatch.chdir(tmp_path)
    blocks = [block["body"] for block in FENCE.finditer(page.read_text("utf-8")) if block["language"] == "python"]
    program = types.ModuleType(f"example_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, program.__name__, program)  # dataclasses look their module up
    exec(compile("\n".join(blocks), str(page), "exec"), program.__dict__)


@dataclass(frozen=True)
class Use:
    """One call of `variegate` in a code block."""

    page: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{page_id(self.page)}: {shlex.join(('variegate', *self.words))}"


def uses(page: Path) -> Iterator[Use]:
    """Every call of `variegate` in the page's shell blocks and inline code."""
    text = page.read_text("utf-8")
    for match in INLINE_CALL.finditer(FENCE.sub("", text)):
        yield from (Use(page, words) for words in calls(match["line"]))
    for block in FENCE.finditer(text):
        if block["language"] not in SHELL:
            continue
        for line in block["body"].replace("\\\n", " ").splitlines():
            yield from (Use(page, words) for words in calls(line))


def calls(line: str) -> Iterator[tuple[str, ...]]:
    """The arguments of each `variegate` in a shell line, redirections and what comes before it left out."""
    line = line.strip().removeprefix("$ ")
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.commenters = "#"
        tokens = list(lexer)
    except ValueError:  # not a shell line, such as output with an apostrophe
        return
    current: list[str] | None = None
    start = True
    for token in [*tokens, ";"]:
        if set(token) <= set("|&;<>()"):
            if current is not None:
                yield tuple(current)
            current, start = None, not set(token) & set("<>")
        elif current is not None:
            current.append(token)
        elif start and not re.fullmatch(r"\w+=.*", token):
            current, start = ([], False) if Path(token).name == "variegate" else (None, False)


def command_tree() -> Any:
    """The command line as typer builds it; skips while there is none."""
    main = pytest.importorskip("variegate.cli.main", reason="there is no command line yet")
    import typer.main

    return typer.main.get_command(main.app)


def complaint(words: tuple[str, ...], root: Any) -> str | None:
    """What is wrong with a call, or None: an unknown command, or an option that the command does not have."""
    command = root
    context = command.make_context("variegate", [], resilient_parsing=True)
    options = option_names(command, context)
    arguments = iter(words)
    for word in arguments:
        if word.startswith("-") and word != "-":
            name = word.split("=")[0]
            if name not in options:
                return f"{command.name or 'variegate'} has no option {name}"
            if options[name] and "=" not in word:
                next(arguments, None)  # the option's value
        elif hasattr(command, "list_commands"):
            found = command.get_command(context, word)
            if found is None:
                return f"there is no command {word!r}"
            context = found.make_context(word, [], parent=context, resilient_parsing=True)
            command, options = found, option_names(found, context)
    return None


def option_names(command: Any, context: Any) -> dict[str, bool]:
    """Each option of a command, and whether a value follows it."""
    return {
        name: not getattr(parameter, "is_flag", False) and not getattr(parameter, "count", False)
        for parameter in command.get_params(context)
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def test_documented_commands_exist():
    shown = [use for page in PAGES for use in uses(page)]
    if not shown:
        pytest.skip("no page shows a command yet")
    root = command_tree()
    wrong = [f"{use}: {problem}" for use in shown if (problem := complaint(use.words, root))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("variegate --help", [("--help",)]),
        ("$ variegate copies ls --json | jq length  # all of them", [("copies", "ls", "--json")]),
        ("make demo && .venv/bin/variegate issue 'a b' > out.json", [("issue", "a b")]),
        ("HOME=/x variegate init", [("init",)]),
        ("cat variegate README.md", []),
        ("pip install variegate", []),
        ("it's output", []),
    ],
)
def test_calls_are_found(line, expected):
    assert list(calls(line)) == expected


def test_unknown_commands_and_options_are_seen():
    typer = pytest.importorskip("typer")
    app, group = typer.Typer(), typer.Typer()
    app.add_typer(group, name="copies")

    @group.command("ls")
    def _ls(model: str = typer.Option("", "--model"), as_json: bool = typer.Option(False, "--json")) -> None: ...

    @app.command("init")
    def _init() -> None: ...

    root = typer.main.get_command(app)
    assert complaint(("copies", "ls", "--model", "m", "--json"), root) is None
    assert complaint(("copies", "ls", "--help"), root) is None
    assert complaint(("copies", "list"), root) == "there is no command 'list'"
    assert complaint(("copies", "ls", "--yaml"), root) == "ls has no option --yaml"
    assert complaint(("issue",), root) == "there is no command 'issue'"
