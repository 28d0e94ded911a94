"""Mutants: a module's source with one passage replaced, to show that a check would notice."""

import inspect
import re
import sys
from types import ModuleType

import pytest


@pytest.fixture
def mutant(monkeypatch):
    """Return (module, pattern, replacement) -> the module made from its source with the one match replaced."""

    def make(module, pattern, replacement):
        source, count = re.subn(pattern, replacement, inspect.getsource(module))
        if count != 1:
            pytest.fail(f"the passage {pattern!r} is in {module.__name__} {count} times, not once; mend this test")
        made = ModuleType(f"variegate_mutant_{module.__name__.rpartition('.')[2]}")
        monkeypatch.setitem(sys.modules, made.__name__, made)
        exec(compile(source, made.__name__, "exec"), made.__dict__)
        return made

    return make
