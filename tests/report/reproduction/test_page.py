"""The page and the figures of a reproduction."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib.pyplot as plt
import pytest
from typer.testing import CliRunner, Result

from tests.report.reproduction.samples import make_all, make_record
from tests.report.test_html import HOSTILE, Page, check_self_contained
from variegate.cli.main import app
from variegate.errors import ConfigurationError
from variegate.experiments.paper.paper import TABLE2_ROWS
from variegate.records.base import Rate
from variegate.records.load import parse_record
from variegate.records.reproduction import ReproductionRecord
from variegate.report.figures.curves import draw_rates
from variegate.report.palette import group_styles
from variegate.report.render import draw_all, draw_reproduction, render_html, render_reproduction
from variegate.report.views.paper.claims import MARKS, judge_all, marked, replication_marks
from variegate.report.views.paper.summaries import norms_table
from variegate.report.views.paper.tables import replication_table

Record = dict[str, Any]


def figures(*records: Record) -> list[Any]:
    parsed = [one for record in records if isinstance(one := parse_record(record), ReproductionRecord)]
    return list(draw_reproduction(parsed))


def texts(drawing: Any) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", drawing.inline_svg()))


def test_the_page_names_the_gpu() -> None:
    record = make_record("table1")
    assert "on one NVIDIA" not in render_reproduction([record])
    record["made_by"][0]["gpu"] = "NVIDIA H100 80GB HBM3"
    assert "on one NVIDIA H100 80GB HBM3" in render_reproduction([record])


@pytest.mark.parametrize("interval", ["band", "bars", "none"])
def test_rates_without_intervals_are_drawn(interval: Any) -> None:
    look = group_styles(["qim"])["qim"]
    known = Rate(rate=0.25, k=1, n=4, low=0.1, high=0.6, interval="wilson")
    bare = known.model_copy(update={"low": None, "high": None})
    for points, ends in (([(1.0, bare)], 0), ([(1.0, known), (2.0, known)], 1)):
        axes = plt.figure().add_subplot()
        draw_rates(axes, points, look, interval=interval, shift=0.25)
        (line,) = axes.get_lines()
        assert list(line.get_xdata()) == [at + 0.25 for at, _ in points]
        filled = [list(path.vertices.ravel()) for c in axes.collections for path in c.get_paths() if len(path.vertices)]
        assert bool(filled) is (interval != "none" and bool(ends))
        if filled:
            assert {round(value) for value in filled[0]} >= {10, 60}
        plt.close("all")


@pytest.fixture(scope="module")
def text() -> str:
    return render_reproduction([*make_all().values()])


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    return {drawing.name.removesuffix("-cifar10"): drawing for drawing in figures(*make_all().values())}


def test_the_page_loads_nothing_and_says_everything(text: str) -> None:
    check_self_contained(text)
    words = Page(text).text
    for sentence in (
        "Reproduction on cifar10",
        "The paper's claims on our records",
        "QIM replicates less than independent training",
        "Of the paper's own claims: holds ",
        "Table 2: What table2 shows",
        "What differs from the paper",
        "Data: recompressed as JPEG.",
        "Networks: 3 trainings of resnet11 (the paper: 10 of VGG-19).",
        "\u2713 holds, \u2717 does not hold, ? undecided",
        "Not in the paper: gradients at the boundary",
        "Parameters that the paper leaves open",
        "quantization_step (delta, for messages of norm 1 and a range of 1)",
        "distribution of messages",
        "calibration, on training images",
        "sha256:89abcdef",
        "variegate reproduce fig5 --preset laptop",
        "What the words mean",
    ):
        assert sentence in words, sentence
    assert "Preset smoke" not in words


def test_the_page_is_accessible(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {str(a["href"])[1:] for a in page.all("a")} <= set(page.ids)
    assert len(page.all("svg")) == 2 + 2 + 1 + 3
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        assert {svg["aria-labelledby"], svg["aria-describedby"]} <= set(page.ids)
    assert len(page.all("caption")) == len([t for t in page.all("table") if t.get("class") != "pairs"])
    assert all(th.get("scope") for th in page.all("th"))
    headings = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_table_2_opens_the_page_and_the_claims_close_it(page: Page) -> None:
    order = ("table2", "table1", "fig5", "parameters", "runs", "claims", "glossary")
    places = [page.ids.index(anchor) for anchor in order]
    assert places == sorted(places)


def test_verdicts_are_marks_in_the_cells(reproduced: dict[str, Record]) -> None:
    (record,) = (parse_record(reproduced["table2"]),)
    claims = judge_all([record])
    attack = record.studies[0].results.attacks.hopskipjump
    marks = replication_marks(claims, "cifar10", "hopskipjump", TABLE2_ROWS)
    table = marked(replication_table("cifar10", attack), marks)
    assert table.columns[-1] == "claims"
    by_row = {row[0]: row[-1] for row in table.rows if row[0]}
    verdict = {claim.text: claim.verdict for claim in claims if claim.where == "hopskipjump"}
    qim = next(row.letter for row in TABLE2_ROWS if (row.rewriter, row.kind) == ("qim", "rewriting"))
    assert by_row[f"({qim})"] == MARKS[verdict["QIM replicates less than independent training"]]
    with_training = next(row.letter for row in TABLE2_ROWS if (row.rewriter, row.kind) == ("qim", "training"))
    assert MARKS[verdict["QIM with training is the lowest of the column"]] in by_row[f"({with_training})"]
    assert by_row["(a)"] == ""


def test_the_page_shows_norms_and_noise_of_every_curve_of_figure_5(reproduced: dict[str, Record]) -> None:
    record = parse_record(reproduced["fig5"])
    assert isinstance(record, ReproductionRecord)
    (study,) = record.studies
    rows = norms_table(study.name, study.results).rows
    assert {row[0] for row in rows} >= {"B1", "C1", "V1", "B3-qim", "C3-qim", "V3-qim"}
    assert ("B1", "mean of scores", "1", "0.250", "10.0", "1.0") in rows
    assert {row[-1] for row in rows if row[0].startswith("V")} == {"-"}
    page = render_reproduction([reproduced["fig5"]])
    assert "Norms of the outputs behind each curve" in page
    assert "docs/results/deviations.md" in page


def test_names_are_escaped() -> None:
    records = [make_record(name, studies=(HOSTILE,)) for name in ("table1", "fig4")]
    for record in records:
        record["command"] = record["title"] = record["studies"][0]["notes"]["data"] = HOSTILE
        record["studies"][0]["names"] = [HOSTILE] * 3
    text = render_reproduction(records)
    check_self_contained(text)
    assert "<img" not in text
    assert "onerror=alert(1)&gt;" in text


def test_some_records_are_enough(reproduced: dict[str, Record]) -> None:
    page = Page(render_reproduction([reproduced["fig4"], reproduced["table1"]]))
    assert page.ids.index("table1") < page.ids.index("fig4")
    assert "table2" not in page.ids
    alone = render_html(reproduced["table3"])
    assert "These records decide no claim." in alone
    assert alone == render_reproduction([reproduced["table3"]])
    assert "Preset smoke" in render_reproduction([make_record("table1", preset="smoke")])


def test_two_records_of_one_experiment() -> None:
    other = make_record("fig3", studies=("own",))
    page = Page(render_reproduction([make_record("fig3"), other]))
    assert {"fig3", "fig3-2"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    with pytest.raises(ConfigurationError, match="got fig3 on 'own' twice"):
        render_reproduction([other, make_record("fig3", studies=("own", "cifar10"))])


def test_what_is_no_reproduction_has_another_page(reproduced: dict[str, Record], calibration: Record) -> None:
    with pytest.raises(ConfigurationError, match="takes its records alone"):
        render_html(reproduced["table1"], None, [calibration])
    with pytest.raises(ConfigurationError, match="at least one record"):
        render_reproduction([])


def test_every_figure_describes_itself(drawn: dict[str, Any], reproduced: dict[str, Record]) -> None:
    assert [drawing.name for drawing in drawn.values()] == [
        "table2-cifar10",
        "table2-steps-cifar10",
        "fig3-cifar10",
        "fig3-elsewhere-cifar10",
        "fig4-cifar10",
        "fig5-cifar10",
        "fig5-one-original-cifar10",
        "fig5-variants-cifar10",
    ]
    assert [drawing.name for drawing in draw_all(parse_record(reproduced["fig4"]))] == ["fig4-cifar10"]
    for drawing in drawn.values():
        root = ET.fromstring(drawing.svg())
        assert [root[0].text, root[1].text] == [drawing.title, drawing.alt]
        assert root.get("role") == "img"
        assert re.search(r"\d", drawing.alt)


def test_figures_say_the_main_numbers(drawn: dict[str, Any]) -> None:
    assert "(b) QIM: H1 mean 0.400 (0.382 to 0.418), peak at 0.400, n 500, H2 mean 0.0100" in drawn["fig3"].alt
    assert "(d) 35.0 (paper 34.0)" in drawn["table2"].alt
    assert "hopskipjump, permutation: 35.0 % at s = 1, 100.0 % at s = 2" in drawn["table2-steps"].alt
    assert "G2 mean -3.50" in drawn["fig4"].alt
    assert "C2 2: QIM and training: 12.0 % at r = 1, 24.0 % at r = 2" in drawn["fig5"].alt
    assert "B3 permutation: 10.0 % at r = 1, 40.0 % at r = 4" in drawn["fig5-one-original"].alt
    assert "V3 permutation: 20.0 % at r = 1, 80.0 % at r = 4" in drawn["fig5-one-original"].alt
    assert "V2" not in drawn["fig5"].alt
    assert "(c) permutation (not in the paper)" in texts(drawn["fig3"])
    assert "H2 goes up to" in texts(drawn["fig3"])


def test_figures_are_drawn_like_the_papers(drawn: dict[str, Any]) -> None:
    for axes in drawn["fig3"].figure.axes:
        assert axes.get_xlim() == (-1.0, 1.0)
        assert [line.get_label().partition(":")[0] for line in axes.get_lines()] == ["H1", "H2", "H3"]
    assert [len(axes.get_lines()) for axes in drawn["fig4"].figure.axes] == [2, 3]
    solid, dotted = drawn["fig5"].figure.axes[0].get_lines()
    assert not solid._unscaled_dash_pattern[1]
    assert dotted._unscaled_dash_pattern[1]
    assert list(solid.get_ydata()) == pytest.approx([10.0, 20.0])


def test_what_was_not_measured_is_left_out() -> None:
    """Validated outputs, settings 1 and 2 (of a study with one original), all settings, a curve without values."""
    record = make_record("fig5")
    for setting in record["studies"][0]["results"]["settings"]:
        for point in setting["points"]:
            del point["validated_outputs"]
    assert [len(drawing.figure.axes) for drawing in figures(record)] == [2, 2, 5]
    record["studies"][0]["results"]["settings"] = record["studies"][0]["results"]["settings"][2:]
    assert [drawing.name for drawing in figures(record)] == ["fig5-one-original-cifar10", "fig5-variants-cifar10"]
    record["studies"][0]["results"]["settings"] = []
    assert figures(record) == []
    cosines = make_record("fig3")
    for place in cosines["studies"][0]["results"]["places"]:
        place["H1"] |= {"density": None, "mean": None, "mean_low": None, "mean_high": None, "peak": None, "n": 0}
    assert "H1 mean -, peak at -, n 0" in figures(cosines)[0].alt


def test_files_have_safe_names() -> None:
    names = [drawing.name for drawing in figures(make_record("fig4", studies=("../x", "a b", "own")))]
    assert names == ["fig4-study-1", "fig4-study-2", "fig4-own"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_takes_a_folder(folder: Path, tmp_path: Path) -> None:
    text = run("report", folder).stdout
    places = [text.index(f"{name}:") for name in ("Table 1", "Table 2", "Table 3", "Figure 3", "Figure 4", "Figure 5")]
    assert places == sorted(places)
    for name in ("table2", "table3", "fig3", "fig5"):
        (folder / f"{name}.json").unlink()
    result = run("report", folder, "--html", tmp_path / "page.html", "--figures", tmp_path / "figures")
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "figures").iterdir())) == 2 * 2
    assert f"wrote {tmp_path / 'page.html'}\n" in result.stderr
    check_self_contained((tmp_path / "page.html").read_text())


def test_the_command_takes_what_is_there(folder: Path) -> None:
    (folder / "table1.json").unlink()
    found = json.loads(run("report", folder, "--json").stdout)
    assert [one["experiment"] for one in found] == ["table2", "table3", "fig3", "fig4", "fig5"]
    (folder / "record.json").write_text(json.dumps(make_record("fig4", studies=("own",))))
    assert json.loads(run("report", folder, "--json").stdout)[0]["title"] == "What fig4 shows"


def test_the_command_refuses_other_records_on_the_page(folder: Path, calibration: Record, tmp_path: Path) -> None:
    other = tmp_path / "calibration.json"
    other.write_text(json.dumps(calibration))
    result = run("report", folder, other, "--html", tmp_path / "page.html")
    assert result.exit_code != 0
    assert not (tmp_path / "page.html").exists()
