"""`variegate reproduce`: studies from the home or from digits, resumed by the same command; mistakes in a sentence."""

import json

import pytest

from tests.cli.conftest import SECRET
from variegate.authority import Authority
from variegate.keys import SellerSecret
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec


@pytest.fixture
def calibrated(home):
    """The home with a spec for each rewriter."""
    with Authority.open(home, lambda: SellerSecret.from_bytes(SECRET)) as desk:
        record = {"format": 1, "kind": "calibration", "candidates": [], "inputs": 77}
        desk.save_spec("net-spread_spectrum", SpreadSpectrumSpec(strength=0.1), model="net", record=record)
    return home


def test_table1_of_the_homes_own_original(invoke, calibrated, tmp_path):
    """The specs are those that the home has for the first original."""
    out = tmp_path / "out"
    options = ("--study", "sold=digits:net", "--note", "sold=handwritten", "--out", out)
    record = json.loads(invoke("reproduce", "table1", *options, "--json").stdout)[0]
    assert record == json.loads((out / "table1.json").read_text())
    study = record["studies"][0]
    assert study["names"] == ["net"]
    assert study["notes"]["data"] == "handwritten"
    assert study["notes"]["specs"]["spread_spectrum"]["inputs"] == 77
    assert study["specs"]["spread_spectrum"]["strength"] == 0.1
    assert set(study["results"]["rows"]) == {"original", "permutation", "spread_spectrum", "qim"}
    assert record["shards_computed_in_this_run"] == 1
    again = json.loads(invoke("reproduce", "table1", *options, "--json").stdout)[0]
    assert again["shards_computed_in_this_run"] == 0
    assert again["studies"] == record["studies"]
    assert "Table 1" in invoke("reproduce", "table1", *options).stdout
    assert "Table 1" in invoke("report", out).stdout


def test_some_rewriters_alone_and_a_spec_by_its_name(invoke, calibrated, tmp_path):
    with Authority.open(calibrated, lambda: SellerSecret.from_bytes(SECRET)) as desk:
        desk.save_spec("papers-alpha", PermutationSpec(alpha=0.8), model="net")
    options = ("--study", "sold=digits:net", "--rewriters", "papers-alpha, spread_spectrum", "--out", tmp_path / "out")
    study = json.loads(invoke("reproduce", "table1", *options, "--json").stdout)[0]["studies"][0]
    assert {name: spec.get("alpha") for name, spec in study["specs"].items()} == {
        "permutation": 0.8,
        "spread_spectrum": None,
    }
    assert set(study["results"]["rows"]) == {"original", "permutation", "spread_spectrum"}
    assert study["notes"]["specs"]["permutation"]["search"].startswith("by hand")


@pytest.mark.usefixtures("calibrated")
def test_a_folder_of_another_record_is_refused_before_any_work(invoke, fails, tmp_path, monkeypatch):
    out, study = tmp_path / "out", ("--study", "sold=digits:net", "--rewriters", "spread_spectrum")
    invoke("reproduce", "table1", *study, "--out", out)
    before = (out / "table1.json").read_bytes()
    monkeypatch.setattr("variegate.cli.reproduce._studies", lambda *_, **__: pytest.fail("nothing is calibrated"))
    for options, what in (
        (
            ("--preset", "laptop"),
            "table1.json holds the preset and the studies with their seeds ('smoke', {'sold': 0})",
        ),
        (("--seed", "1"), "table1.json holds the preset and the studies with their seeds ('smoke', {'sold': 0})"),
        (("--images", "15"), "table1.json is of a run that attacks more images (12 and 20): choose another --out"),
    ):
        assert what in fails(2, "reproduce", "table3", "table1", *options, *study, "--out", out)
    assert (out / "table1.json").read_bytes() == before
    (out / "table1.json").write_text("{}")
    assert "table1.json" in fails(1, "reproduce", "table1", *study, "--out", out)


@pytest.mark.usefixtures("calibrated")
def test_other_numbers_of_attacked_images(invoke, tmp_path):
    """A run with more images takes over the full shards of one with fewer, and its place."""
    options = ("--study", "sold=digits:net", "--rewriters", "spread_spectrum", "--out", tmp_path / "out")
    sizes, fresh = [], []
    for images in (6, 12):
        record = json.loads(invoke("reproduce", "table2", *options, "--images", images, "--json").stdout)[0]
        groups = record["studies"][0]["results"]["attacks"]["geoda"]["groups"]
        assert record["effort"]["attack_images"] == images
        sizes.append({name: group["images"] for name, group in groups.items()})
        fresh.append(record["shards_computed_in_this_run"])
    assert sizes == [{"independent": 6, "spread_spectrum": 6}, {"independent": 12, "spread_spectrum": 12}]
    assert fresh == [2 * 3 * (1 + 3), 2 * 3 * (1 + 3)]  # of the originals, whose shards are full, six images were done


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (2, ("table9",), "there is no experiment 'table9'"),
        (2, ("table1", "--preset", "huge"), "there is no preset 'huge'"),
        (2, ("table1", "--study", "digits"), "--study is written NAME=DATA:MODEL,MODEL"),
        (4, ("table1", "--study", "a=digits:nobody"), "nobody"),
        (4, ("table1", "--study", "a=digits:net,nobody"), "nobody"),
        (2, ("table1", "--study", "a=digits:net,net"), "the originals of a study must differ; got net, net"),
        (4, ("table1", "--study", "a=digits:net", "--rewriters", "none-such"), "no rewriter spec named 'none-such'"),
        (2, ("table1", "--study", "a=digits:net", "--rewriters", " , "), "expected rewriters among"),
        (2, ("table1", "--rewriters", "papers-alpha"), "each once; got papers-alpha"),
        (
            2,
            ("table1", "--study", "a=digits:net", "--rewriters", "spread_spectrum,net-spread_spectrum"),
            "names two specs of spread_spectrum",
        ),
        (2, ("table1", "--study", "a=digits:net", "--study", "a=digits:net"), "needs a name of its own"),
        (2, ("table1", "--study", "a=digits:net", "--note", "b=text"), "--note speaks of 'b'"),
        (2, ("fig3", "--study", "a=digits:net"), "study 'a' has 1"),
    ],
)
@pytest.mark.usefixtures("calibrated")
def test_mistakes(fails, tmp_path, code, arguments, message):
    assert message in fails(code, "reproduce", *arguments, "--out", tmp_path / "out")
    assert not list(tmp_path.glob("out/*.json"))
