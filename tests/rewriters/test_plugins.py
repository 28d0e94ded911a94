"""Rewriters of other packages: found by name, loaded when named, and harmless to others where they are broken."""

from importlib.metadata import EntryPoint

import pytest

from tests.raising import raises
from variegate.errors import ConfigurationError
from variegate.report.formatting import group_title
from variegate.report.palette import group_styles
from variegate.rewriters import catalog
from variegate.rewriters.qim import QimSpec


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    group = "variegate.rewriters"
    entries = [
        EntryPoint("broken", "no_such_module_anywhere:Spec", group),
        EntryPoint("other", "variegate.rewriters.permutation:PermutationSpec", group),
        EntryPoint("qim", "no_such_module_anywhere:Spec", group),
    ]
    monkeypatch.setattr(catalog, "entry_points", lambda group: {"variegate.rewriters": entries}[group])
    catalog._plugins.cache_clear()
    catalog._load_plugin.cache_clear()
    yield
    catalog._plugins.cache_clear()
    catalog._load_plugin.cache_clear()


def test_a_plugin_is_found_and_does_not_replace_a_rewriter_of_variegate():
    assert catalog.find_spec_class("other").rewriter == "permutation"
    assert catalog.find_spec_class("qim") is QimSpec
    assert {"broken", "other", "qim"} <= set(catalog.known_rewriters())


def test_a_broken_plugin_is_one_sentence_where_it_is_named():
    with raises(ConfigurationError, "'broken'", "no_such_module_anywhere"):
        catalog.find_spec_class("broken")


def test_a_broken_plugin_does_not_keep_others_from_being_read_or_reported():
    assert catalog.spec_from_dict(QimSpec().to_dict()) == QimSpec()
    assert [group_title(name) for name in ("qim", "qim-2", "broken", "unknown")] == [
        "QIM",
        "QIM (2)",
        "broken",
        "unknown",
    ]
    assert group_styles(["broken", "qim"])["qim"].colour == QimSpec.colour
