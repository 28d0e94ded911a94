"""The record of an audit of collusion, as text and on a page."""

import copy

import pytest

from tests.raising import raises
from tests.report.reproduction.samples import make_record
from variegate.errors import ConfigurationError, FormatError
from variegate.records.collusion import CollusionRecord
from variegate.records.load import parse_record
from variegate.report.render import draw_all, render_html, render_index, render_text


@pytest.fixture
def record():
    settings = make_record("fig5")["studies"][0]["results"]["settings"][1:3]
    return {
        "format": 1,
        "kind": "collusion",
        "created": "2026-01-01T00:00:00+00:00",
        "variegate": "0.1",
        "torch": "2",
        "source": "sha256:00",
        "command": "variegate audit collude <b>",
        "seconds": 3.0,
        "model": {
            "name": "net",
            "digest": "sha256:11",
            "manifest_digest": None,
            "num_classes": 4,
            "input_shape": [1, 8, 8],
            "bounds": [0.0, 1.0],
        },
        "data": {"name": "noise", "split": "test", "images": 80, "indices": list(range(80))},
        "attack": {
            "name": "deepfool",
            "parameters": {"candidates": 10},
            "ensemble": "mean",
            "budget": None,
            "norm": "l2",
            "seed": 0,
        },
        "trainings": 3,
        "colluders": [1, 2],
        "victims": 2,
        "settings": copy.deepcopy(settings),
    }


def test_text_and_page(record):
    text = render_text(record)
    assert "1, 2 colluders attack the mean of their scores on 80 images of noise (test) with deepfool, L2 norm" in text
    assert "qim, independent" in text
    assert "NOT measured for more" not in text
    asked = " ".join(render_text({**record, "colluders": [1, 2, 9]}).split())
    assert (
        "NOT measured for more colluders, who need k + 1 independent trainings: qim, independent (k = 2 at most)"
        in asked
    )
    assert "8 bits" not in text  # records from before the control was asked again
    for setting in record["settings"]:
        setting["identical"][0]["rounded"] = {"rate": 0.3, "k": 24, "n": 80, "low": 0.2, "high": 0.4, "interval": None}
    (line, below) = next(
        pair
        for pair in zip(render_text(record).splitlines(), render_text(record).splitlines()[1:], strict=False)
        if "identical, 8 bits" in pair[0]
    )
    assert line.split()[-3:] == ["30.0", "-", "-"]
    assert below.split() == ["24/80;", "20-40"]
    page = render_html(record)
    assert "identical, 8 bits" in page
    assert "&lt;b&gt;" in page
    assert draw_all(parse_record(record)) == ()
    with pytest.raises(ConfigurationError, match="attacks, cross-checks and collusion on other pages"):
        render_index([record])


def test_a_wrong_field_is_named(record):
    assert isinstance(parse_record(record), CollusionRecord)
    record["settings"][0]["points"][0]["kept"]["k"] = -1
    with raises(FormatError, "settings[0].points[0].kept.k"):
        parse_record(record)
