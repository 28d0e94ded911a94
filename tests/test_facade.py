"""`import variegate as vg`: every name is there, typed, documented, and costs nothing until it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import variegate as vg
from tools.api_reference import reference

ROOT = Path(__file__).parents[1]
NAMES = [name for name in vg.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_documented(name):
    assert getattr(vg, name).__doc__


def test_the_stub_types_the_same_names():
    stub = ast.parse((ROOT / "src/variegate/__init__.pyi").read_text(encoding="utf-8"))
    typed = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(NAMES)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no_such_name"):
        vg.no_such_name  # noqa: B018


def test_dir_lists_the_names():
    assert set(NAMES) <= set(dir(vg))


def test_importing_it_loads_nothing_heavy():
    code = "import sys, variegate; print(sorted({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_the_reference_page_is_up_to_date():
    page = ROOT / "docs/reference/api.md"
    assert page.read_text(encoding="utf-8") == reference(), "run: make api-reference"
