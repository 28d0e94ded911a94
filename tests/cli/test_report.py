"""`variegate report` on records of single attacks; audits and calibrations are in test_measuring."""

import json
from pathlib import Path

import pytest

from tests.report.attack_samples import make_attack, save_attack
from tests.report.check_samples import make_check
from tests.report.conftest import make_record


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [
        save_attack(make_attack(), tmp_path / "attack1"),
        save_attack(make_attack("deepfool", kind="white_box", median=0.17), tmp_path / "attack2"),
    ]


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(make_record(groups=("identical", "qim"), copies=2, images=10)))
    return path


def test_one_table_of_all_attacks(invoke, folders):
    text = invoke("report", *folders).stdout
    assert text.count("Attacks: success in %") == 1
    assert text.count("Outcomes of the images") == 1
    assert text.count("Command: variegate attack") == 2


def test_attacks_follow_audits(invoke, folders, audit):
    text = invoke("report", folders[0], audit, folders[1]).stdout
    assert text.index("Replication on cifar10-s0") < text.index("Attacks on net")
    assert text.count("Attacks: success in %") == 1


def test_json(invoke, folders):
    raw = json.loads(invoke("report", *folders, "--json").stdout)
    assert [one["attack"]["name"] for one in raw] == ["hopskipjump", "deepfool"]


def test_figures_of_all_attacks_together(invoke, folders, tmp_path):
    result = invoke("report", *folders, "--figures", tmp_path / "figures")
    names = ("norm-against-queries", "pictures-1", "pictures-2")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(
        f"{name}.{ending}" for name in names for ending in ("svg", "png")
    )
    assert "deepfool (white box)" in (tmp_path / "figures" / "norm-against-queries.svg").read_text()
    assert result.stderr == f"wrote 6 files to {tmp_path / 'figures'}\n"


def test_figures_beside_an_audit(invoke, folders, audit, tmp_path):
    invoke("report", folders[0], audit, "--figures", tmp_path / "figures")
    found = {str(path.relative_to(tmp_path / "figures")) for path in (tmp_path / "figures").rglob("*.svg")}
    assert {"norm-against-queries.svg", "pictures.svg", "2/overshoot.svg"} <= found


def test_one_page(invoke, folders, tmp_path):
    result = invoke("report", *folders, "--html", tmp_path / "attacks.html")
    assert result.stderr == f"wrote {tmp_path / 'attacks.html'}\n"
    assert [path.name for path in tmp_path.glob("*.html")] == ["attacks.html"]
    assert (tmp_path / "attacks.html").read_text().count("<svg") == 3


def test_a_cross_check_alone_and_beside_audits(invoke, audit, tmp_path):
    check = tmp_path / "check.json"
    check.write_text(json.dumps(make_check()))
    assert invoke("report", check).stdout.startswith("Cross-check on copy 0\n")
    invoke("report", check, "--html", tmp_path / "alone.html", "--figures", tmp_path / "figures")
    assert "Cross-check on copy 0" in (tmp_path / "alone.html").read_text()
    assert list((tmp_path / "figures").iterdir()) == []
    invoke("report", audit, check, audit, "--html", tmp_path / "all.html")
    pages = ["all-1.html", "all-2.html", "all-cross-check-1.html", "all.html"]
    assert sorted(path.name for path in tmp_path.glob("all*.html")) == pages


def test_a_page_of_attacks_and_audits_is_refused(fails, folders, audit, tmp_path):
    message = fails(2, "report", folders[0], audit, "--html", tmp_path / "page.html")
    assert message == (
        "error: a page shows either attacks or audits with calibrations; got both: give them to two commands"
    )
    assert not (tmp_path / "page.html").exists()


def test_a_record_that_contradicts_itself(fails, tmp_path):
    record = make_attack()
    record["outcome"]["succeeded"] = 3
    assert "attack_success_rate.k" in fails(1, "report", save_attack(record, tmp_path / "bad"))
