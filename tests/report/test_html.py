"""The page: self-contained, escaped, complete, accessible."""

from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.raising import raises
from variegate.errors import ConfigurationError, InputError, NotFoundError
from variegate.report.render import render_html, render_index

Record = dict[str, Any]

VOID = {"meta", "link", "br", "img", "hr", "input"}
HOSTILE = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Collects what the tests ask for, and checks that elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def small(make: Callable[..., Record]) -> Record:
    return make(groups=("identical", "noise", "qim"), copies=3, images=20)


def check_self_contained(text: str) -> None:
    page = Page(text)
    assert "://" not in text
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action", "srcset", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")) or value.endswith(".html")
    assert "@import" not in text
    assert "url(h" not in text
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy)


def test_the_page_loads_nothing(small: Record, calibration: Record, pictures: Path) -> None:
    check_self_contained(render_html(small, pictures, [calibration]))


def test_the_page_is_complete(record: Record, pictures: Path) -> None:
    page = Page(render_html(record, pictures))
    text = page.text
    for words in (
        "Replication on cifar10-s0",
        "Protection ends at L2 norm 0.6 (by the interval's ends: 0.5 and 0.6).",
        "replicated 36 of 1,800 (2.0 %, 95 % interval 1.4 to 2.8 %)",
        "Take care",
        "sha256:0123456789abcdef",
        "variegate audit replicate --model cifar10-s0",
        "2.13.0",
        "3.11.9",
        "probe_radius",
        "starts.trials",
        "messages_per_class",
        "What the words mean",
        "attackers here do not adapt",
        "36/1,800",
    ):
        assert words in text, words
    assert len(page.all("svg")) == 11
    assert len(page.ids) == len(set(page.ids))
    anchors = {str(a["href"])[1:] for a in page.all("a")}
    assert anchors
    assert anchors <= set(page.ids)


def test_figures_and_tables_are_accessible(small: Record, pictures: Path) -> None:
    page = Page(render_html(small, pictures))
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        assert {svg["aria-labelledby"], svg["aria-describedby"]} <= set(page.ids)
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert len(page.all("caption")) == len([t for t in page.all("table") if t.get("class") != "pairs"])
    assert all(th.get("scope") for th in page.all("th"))
    headings = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_light_dark_and_print_are_styled(small: Record) -> None:
    text = render_html(small)
    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media print" in text
    assert 'content="light dark"' in text


def test_hostile_names_are_escaped_everywhere(small: Record, calibration: Record) -> None:
    small["model"]["name"] = small["command"] = small["data"]["name"] = small["torch"] = HOSTILE
    small["attack"]["name"] = small["data"]["split"] = small["model"]["digest"] = small["created"] = HOSTILE
    small["attack"]["parameters"] = {HOSTILE: {HOSTILE: [HOSTILE]}}
    group = small["groups"][2]
    group["name"] = HOSTILE
    group["copies"] = [f"{HOSTILE}{index}" for index in range(3)]
    group["rewriter"] = {"rewriter": HOSTILE}
    group["attack"]["attackers"][0]["status"] = {HOSTILE: 3}
    calibration["model"] = HOSTILE
    calibration["rewriter"] = HOSTILE
    for text in (render_html(small, None, [calibration]), render_index([small, calibration], ["a.html", None])):
        assert "<script" not in text.lower()
        assert "<img" not in text.lower()
        check_self_contained(text)
        assert "alert('x')" in Page(text).text


def test_characters_that_steer_are_replaced(small: Record) -> None:
    small["model"]["name"] = "a\x00\x1b\u202eb"
    text = render_html(small)
    assert not {"\x00", "\x1b", "\u202e"} & set(text)


def test_missing_pictures_are_said(small: Record, tmp_path: Path) -> None:
    assert "No pictures were kept with this record." in Page(render_html(small)).text
    with pytest.raises(NotFoundError):
        render_html(small, tmp_path / "nothing.npz")


def test_null_rates_are_dashes_and_nan_is_never_printed(record: Record) -> None:
    for group in record["groups"]:
        group["rates"] = dict.fromkeys(group["rates"])
        for point in (*group["replication_at"], *group["replication_within"]):
            point["rate"] = {"rate": float("nan"), "k": 0, "n": 0, "low": None, "high": float("nan"), "interval": "x"}
        for attacker in group["attack"]["attackers"]:
            attacker["distance"] = dict.fromkeys(attacker["distance"], float("nan"))
            attacker["distances"] = [float("nan")] * 3
            attacker["trajectory"]["median_distance"] = [None] * 7
        group["matrix"]["n"] = [[0] * 6] * 3
        group["matrix"]["replicated"] = [[None] * 6] * 3
    record["efficiency"]["queries_per_second"] = None
    text = render_html(record)
    assert "nan" not in text.lower().replace("dominan", "")
    assert ">None<" not in text
    assert "was not measured" in text
    assert '<span class="none" title="nothing to count">–</span>' in text


def test_a_single_copy(make: Callable[..., Record]) -> None:
    page = Page(render_html(make(groups=("qim",), copies=1, images=5)))
    assert "there is a single copy" in page.text


def test_a_hundred_copies_make_a_page_of_bearable_size(make: Callable[..., Record]) -> None:
    text = render_html(make(groups=("qim",), copies=100, images=5))
    assert len(text) < 1_500_000
    assert "all 100" in text


def test_calibrations_can_stand_alone_or_beside(small: Record, calibration: Record) -> None:
    alone = Page(render_html(calibration))
    assert "Calibration of QIM" in alone.text
    assert len(alone.all("svg")) == 1
    calibration["candidates"] = []
    assert "0 settings were tried" in Page(render_html(small, None, [calibration])).text


def test_several_records_on_one_page_share_no_id(small: Record) -> None:
    page = Page(render_html(small, None, [small]))
    assert len(page.ids) == len(set(page.ids))


def test_malformed_records_name_the_field(small: Record) -> None:
    del small["groups"][0]["rates"]
    with raises(InputError, "groups[0].rates"):
        render_html(small)
    with raises(InputError, "groups[0].rates"):
        render_index([small])


def test_the_index_joins_six_models(make: Callable[..., Record], calibration: Record) -> None:
    names = [f"{data}-s{seed}" for data in ("cifar10", "gtsrb") for seed in range(3)]
    records = [make(groups=("identical", "qim"), name=name, images=20, copies=3) for name in names]
    text = render_index([*records, calibration], [f"{name}.html" for name in names] + [None], title="Six models")
    check_self_contained(text)
    page = Page(text)
    assert [a["href"] for a in page.all("a")] == [f"{name}.html" for name in names]
    assert len(page.all("svg")) == 2
    assert len(page.ids) == len(set(page.ids))
    assert "Six models" in page.text
    assert "24 settings were tried." in page.text
    assert all(name in page.text for name in names)


def test_links_of_an_index_are_relative_files(small: Record) -> None:
    assert 'href="my%20page%23.html"' in render_index([small], ["my page#.html"])
    assert 'href="javascript%3Aalert%281%29.html"' in render_index([small], ["javascript:alert(1).html"])
    for links, words in (
        (["/etc/x.html"], "relative file"),
        (["//host/x.html"], "relative file"),
        ([""], "relative file"),
        ([], "one link per record, 1 in all; got 0"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            render_index([small], links)
    with pytest.raises(ConfigurationError, match="at least one record"):
        render_index([])
