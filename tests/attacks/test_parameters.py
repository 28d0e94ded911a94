"""Hyper-parameters as text: what is read, what is refused, what is shown."""

from dataclasses import dataclass, fields

import pytest

from variegate.attacks import catalog
from variegate.attacks.catalog import (
    ATTACKS,
    PRESETS,
    attack_parameters,
    describe_attacks,
    find_attack,
    make_attack,
    parse_parameters,
    plain_parameters,
    preset_of,
)
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.subspaces import FullSpace, LowFrequencies, ResizedNoise, Subspace
from variegate.errors import ConfigurationError
from variegate.types import Norm


@dataclass(frozen=True)
class Example:
    needed: int
    share: float = 0.5
    twice: bool = False
    limit: int | None = None
    subspace: Subspace = FullSpace()  # noqa: RUF009 - frozen
    other: Subspace | None = None


def test_texts_become_values():
    texts = {"needed": "3", "share": "1e-3", "twice": "True", "limit": "none", "subspace": "dct:4"}
    values = parse_parameters(Example, texts)
    assert values == {"needed": 3, "share": 1e-3, "twice": True, "limit": None, "subspace": LowFrequencies(4)}
    assert parse_parameters(Example, {"limit": "7"}) == {"limit": 7}
    assert parse_parameters(Example, {"other": "none"}) == {"other": None}
    assert parse_parameters(Example, {"other": "resize:2"}) == {"other": ResizedNoise(2)}
    assert make_attack("hsj", {"norm": "linf", "iterations": "3"}) == HopSkipJump(norm=Norm.LINF, iterations=3)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"speed": "1"}, "Example has no parameter 'speed'; it has needed, share, twice, limit, subspace, other"),
        ({"needed": "3.5"}, "needed takes a whole number; got '3.5'"),
        ({"needed": "none"}, "needed takes a whole number; got 'none'"),
        ({"share": "half"}, "share takes a number; got 'half'"),
        ({"twice": "1"}, "twice takes true or false; got '1'"),
        ({"subspace": "dct:0"}, "the number of frequencies must be at least 1; got 0"),
        ({"subspace": "waves"}, "a subspace is written full, dct:SIDE or resize:FACTOR"),
    ],
    ids=str,
)
def test_bad_texts(texts, message):
    with pytest.raises(ConfigurationError, match=None) as caught:
        parse_parameters(Example, texts)
    assert message in str(caught.value)


def test_what_is_no_dataclass_is_refused():
    with pytest.raises(ConfigurationError, match="must be a dataclass of its hyper-parameters; int is not"):
        attack_parameters(int)


def test_parameters_are_shown():
    shown = {p.name: (p.takes, p.default) for p in attack_parameters(Example)}
    assert shown["needed"] == ("a whole number", "required")
    assert shown["limit"] == ("a whole number or none", "none")
    assert shown["subspace"] == ("full, dct:SIDE or resize:FACTOR", "full")
    assert plain_parameters(HopSkipJump())["norm"] == "l2"


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_is_described_and_reads_its_own_defaults(name):
    kind = find_attack(name)
    texts = {p.name: p.default for p in attack_parameters(kind) if p.default != "required"}
    assert make_attack(name, texts) == kind()
    (described,) = [one for one in describe_attacks() if one["name"] == name]
    assert len(described["summary"]) > 20
    assert [p["name"] for p in described["parameters"]] == [field.name for field in fields(kind)]


@pytest.mark.parametrize(("preset", "name"), [(p, name) for p, attacks in PRESETS.items() for name in attacks])
def test_presets_fit_their_attacks(preset, name):
    attack = make_attack(name, {}, preset=preset)
    assert attack.name == name
    for parameter, value in PRESETS[preset][name].items():
        assert getattr(attack, parameter) == value


def test_what_is_given_goes_before_the_preset():
    assert make_attack("hsj", {"iterations": "3"}, preset="reproduction").iterations == 3
    assert make_attack("hsj", {}, preset="reproduction").iterations == 50


def test_what_is_needed_and_missing():
    with pytest.raises(ConfigurationError, match="pgd needs a value for epsilon"):
        make_attack("pgd", {})
    assert make_attack("pgd", {"epsilon": "0.5"}).epsilon == 0.5


def test_unknown_names():
    with pytest.raises(ConfigurationError, match="there is no attack 'hopscotch'; choose from .*hopskipjump"):
        make_attack("hopscotch", {})
    with pytest.raises(ConfigurationError, match="there is no preset 'fast'; choose from reproduction"):
        make_attack("hsj", {}, preset="fast")
    with pytest.raises(ConfigurationError, match="'reproduction' has no settings for rays; it has some for boundary"):
        preset_of("reproduction", "rays")


class Entry:
    def __init__(self, name, load):
        self.name, self.load = name, load


def broken():
    raise ImportError("no module named waves")


def test_a_package_whose_attack_is_broken_does_not_break_the_others(monkeypatch, caplog):
    entries = [Entry("waves", broken), Entry("number", lambda: int), Entry("example", lambda: Example)]
    monkeypatch.setattr(catalog, "entry_points", lambda group: entries if group == "variegate.attacks" else [])
    catalog._plugins.cache_clear()
    try:
        assert find_attack("example") is Example
        assert find_attack("hsj") is HopSkipJump
        with pytest.raises(ConfigurationError, match="there is no attack 'waves'"):
            find_attack("waves")
        assert "the attack waves of another package is left out: no module named waves" in caplog.text
    finally:
        catalog._plugins.cache_clear()
