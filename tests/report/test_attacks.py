"""Attack records side by side: read strictly, as tables, as one figure, as one page."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.raising import raises
from tests.report.attack_samples import make_attack, save_attack
from tests.report.test_html import HOSTILE, Page, check_self_contained
from variegate.errors import ConfigurationError, FormatError
from variegate.records.attack import AttackRecord
from variegate.records.load import load_record, parse_record
from variegate.report.drawing import Drawing
from variegate.report.figures.attack import norm_against_queries
from variegate.report.figures.gallery import load_pictures
from variegate.report.labels import full_labels, labels
from variegate.report.palette import series_styles
from variegate.report.render import (
    draw_all,
    draw_attacks,
    render_attacks,
    render_attacks_text,
    render_html,
    render_index,
    render_text,
    save_all,
)
from variegate.report.views.attack import attack_cautions, outcome_table, overview_table
from variegate.types import Status

Record = dict[str, Any]

JITTER = {"jitter": "shift:1", "votes": 9, "levels": 256}


def parse(*records: Record) -> list[AttackRecord]:
    found = [parse_record(record) for record in records]
    return [record for record in found if isinstance(record, AttackRecord)]


def changed(record: Record, path: str, value: object) -> Record:
    *parents, name = path.split(".")
    part = record
    for parent in parents:
        part = part[parent]
    part[name] = value
    return record


def drawn(records: list[Record]) -> Drawing:
    drawing = norm_against_queries(parse(*records))
    assert drawing is not None
    return drawing


def words(drawing: Drawing) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing.inline_svg())


class TestReading:
    def test_a_record_is_read_from_a_file(self, attack: Record, tmp_path: Path) -> None:
        record = load_record(save_attack(attack, tmp_path / "a") / "record.json")
        assert isinstance(record, AttackRecord)
        assert record == parse_record(attack)
        assert parse_record(record) is record
        attack_run = record.attack
        assert (attack_run.name, attack_run.kind) == ("hopskipjump", "hard_label")
        assert (attack_run.norm, attack_run.budget) == ("l2", 2000)
        assert record.statuses == {Status.SUCCESS: 118, Status.ALREADY_MISCLASSIFIED: 2}
        success = record.outcome.attack_success_rate
        assert (success.k, success.n, len(record.outcome.overshoot.values)) == (118, 118, 118)

    @pytest.mark.parametrize(
        "path",
        [
            "source",
            "command",
            "seconds",
            "target.digest",
            "target.bounds",
            "data.images",
            "attack.kind",
            "attack.norm",
            "attack.budget",
            "attack.oracle",
            "attack.targeted",
            "outcome.attack_success_rate",
            "outcome.trajectory",
            "outcome.status",
            "outcome.overshoot.values",
            "efficiency.raw_queries_per_second",
            "error",
        ],
    )
    def test_a_missing_field_is_named(self, attack: Record, path: str) -> None:
        *parents, name = path.split(".")
        part = attack
        for parent in parents:
            part = part[parent]
        del part[name]
        with raises(FormatError, path):
            parse_record(attack)

    @pytest.mark.parametrize(
        ("path", "value", "names"),
        [
            ("format", 2, ("format", "2")),
            ("attack.kind", "grey_box", ("attack.kind", "'grey_box'")),
            ("attack.norm", "l1", ("attack.norm", "'l1'")),
            ("attack.targeted", 0, ("attack.targeted",)),
            ("attack.budget", -1, ("attack.budget", "-1")),
            ("attack.oracle", {"jitter": None, "votes": 1}, ("attack.oracle.levels",)),
            ("target.bounds", [1, 0], ("target", "bounds")),
            ("outcome.status", {"lucky": 120}, ("outcome", "status", "'lucky'")),
            ("outcome.status", {"success": 119}, ("outcome.status", "119", "data.images", "120")),
            ("outcome.attempted", 119, ("attack_success_rate.n", "118", "attempted is 119")),
            ("outcome.succeeded", 117, ("attack_success_rate.k", "118", "succeeded is 117")),
            ("outcome.distances", [0.1], ("distances", "1", "succeeded is 118")),
            ("outcome.confirmed", {"rate": 1.0, "k": 5, "n": 5}, ("outcome.confirmed",)),
            ("outcome.confirmed.n", 119, ("confirmed.n", "119", "succeeded is 118")),
            ("outcome.overshoot.values", [0.1], ("overshoot", "1", "succeeded is 118")),
            ("outcome.overshoot.values", [1.5] * 118, ("overshoot.values[0]", "1.5")),
            ("outcome.attack_success_rate.k", 119, ("attack_success_rate", "k = 119", "n = 118")),
            ("error", 3, ("error", "3")),
        ],
    )
    def test_a_wrong_field_is_named(self, attack: Record, path: str, value: object, names: tuple[str, ...]) -> None:
        with raises(FormatError, *names):
            parse_record(changed(attack, path, value))

    def test_what_was_not_measured_is_none(self, attack: Record) -> None:
        attack["outcome"]["overshoot"] = None
        attack["attack"]["oracle"] = dict(JITTER)
        record = parse(attack)[0]
        assert record.outcome.overshoot is None
        oracle = record.attack.oracle
        assert oracle is not None
        assert (oracle.jitter, oracle.votes, oracle.levels) == ("shift:1", 9, 256)
        del attack["outcome"]["overshoot"]
        assert parse(attack) == [record]


def aimed_at(record: AttackRecord, **changes: str) -> AttackRecord:
    return record.model_copy(update={"target": record.target.model_copy(update=changes)})


class TestLabels:
    def test_one_record_is_called_by_its_attack(self, attack: Record) -> None:
        assert labels(parse(attack)) == full_labels(parse(attack)) == ("hopskipjump",)

    def test_parameters_count_within_an_attack_and_settings_among_all(self, attacks: list[Record]) -> None:
        attacks[2]["attack"]["oracle"] = dict(JITTER)
        assert labels(parse(*attacks)) == (
            "hopskipjump, semantics=paper",
            "hopskipjump, semantics=art",
            "geoda, jitter=shift:1, votes=9, levels=256",
            "deepfool",
            "hopskipjump, semantics=paper",
            "rays",
        )
        assert full_labels(parse(*attacks))[4] == "hopskipjump, semantics=paper, L-infinity norm"

    def test_a_white_box_attack_has_no_budget_to_differ_in(self) -> None:
        pair = parse(make_attack(budget=100), make_attack(budget=None), make_attack("pgd", kind="white_box"))
        assert labels(pair) == ("hopskipjump, budget=100", "hopskipjump, budget=none", "pgd")

    def test_targets_are_told_apart_by_name_or_digest(self, attack: Record) -> None:
        first = parse(attack)[0]
        assert labels([first, aimed_at(first, name="other", digest="sha256:ff")]) == (
            "hopskipjump, target=net",
            "hopskipjump, target=other",
        )
        assert labels([first, aimed_at(first, digest="sha256:" + "f" * 64)]) == (
            "hopskipjump, digest=01234567",
            "hopskipjump, digest=ffffffff",
        )

    def test_records_that_are_alike_are_numbered(self, attack: Record) -> None:
        assert labels(parse(attack, attack, attack)) == ("hopskipjump", "hopskipjump (2)", "hopskipjump (3)")


class TestTables:
    def test_golden(self, attacks: list[Record], golden: Callable[[str, bytes], None]) -> None:
        attacks[2]["error"] = "the model failed while it labelled: out of memory"
        golden("report/attacks.txt", render_attacks_text(parse(*attacks)).encode())

    def test_every_number_of_a_row(self) -> None:
        (record,) = parse(make_attack("geoda", failed={"no_starting_point": 9}))
        table = overview_table([record])
        assert dict(zip(table.columns, zip(*table.rows, strict=True), strict=True)) == {
            "attack": ("geoda", ""),
            "norm": ("L2", ""),
            "images": ("120", ""),
            "success": ("92.4", "109/118; 87-94"),
            "median norm": ("0.483", "0.311 to 0.751"),
            "queries": ("1,999", "1,988 to 2,000"),
            "overshoot (%)": ("0.210", "0.135 to 0.327"),
        }
        statuses = ("success", "already misclassified", "no starting point")
        assert outcome_table([record]).columns[2:] == (*statuses, "confirmed")
        assert outcome_table([record]).rows == (("geoda", "L2", "109", "2", "9", "109/109"),)

    def test_what_was_not_asked_again_is_not_confirmed(self) -> None:
        known, silent, failed = make_attack(), make_attack("geoda"), make_attack("surfree")
        del silent["outcome"]["confirmed"]
        nothing = {"rate": None, "k": 0, "n": 0, "low": None, "high": None, "interval": "wilson"}
        failed["outcome"]["confirmed"] = nothing
        table = outcome_table(parse(known, silent, failed))
        assert [row[-1] for row in table.rows] == ["118/118", "-", "-"]
        assert "confirmed" not in outcome_table(parse(silent, failed)).columns
        assert attack_cautions(parse(silent)) == attack_cautions(parse(failed)) == ()

    def test_the_speed_beside_that_of_the_target_alone(self, attack: Record) -> None:
        assert "3,917 a second (95.0 % of the target alone)" in " ".join(render_text(attack).split())
        page = Page(render_html(attack)).text
        assert "target alone, a second 4,123" in page
        assert "share of that (%) 95.0" in page
        attack["efficiency"]["raw_queries_per_second"] = None
        assert "of the target alone" not in render_text(attack)

    def test_nothing_found_is_dashes(self) -> None:
        record = make_attack(images=2)
        record["outcome"]["queries"] = {"p10": None, "median": float("nan"), "p90": None, "total": 0}
        text = render_text(record)
        assert re.search(r"hopskipjump +L2 +2 +- +- +- +-\n", text)
        assert "nan" not in text.lower()
        assert "none" not in text.lower()

    def test_lines_fit_the_terminal(self, attacks: list[Record]) -> None:
        lines = render_attacks_text(parse(*attacks[2:4])).splitlines()
        assert max(map(len, lines)) <= 100
        assert not [line for line in lines if line != line.rstrip()]

    def test_outcomes_come_with_advice(self, attacks: list[Record]) -> None:
        text = " ".join(render_attacks_text(parse(*attacks)).split())
        assert f"- no starting point: {Status.NO_STARTING_POINT.advice}" in text
        assert Status.BUDGET_EXHAUSTED.advice not in text

    def test_cautions(self, attack: Record) -> None:
        assert attack_cautions(parse(attack)) == ()
        other = make_attack("geoda", images=50, failed={"budget_exhausted": 20})
        other["error"] = "out of memory"
        other["attack"]["targeted"] = True
        found = "\n".join(attack_cautions(parse(attack, other)))
        assert "differ in data or number of images, aim (targeted or not): their norms" in found
        assert "geoda, targeted=yes: the run ended early (out of memory)" in found
        assert "only 50 images were attacked" in found
        assert "success on 28 of 48" in found
        assert "hopskipjump" not in found

    def test_adversarials_that_are_not_confirmed(self) -> None:
        record = make_attack(unconfirmed=7)
        (line,) = attack_cautions(parse(record))
        assert line.startswith("hopskipjump: asked once more, without votes, the target gets only 111/118 of the adv")
        assert "111/118" in render_text(record)
        assert "gets only 111/118" in Page(render_html(record)).text


class TestFigure:
    def test_axes_have_units_and_each_norm_a_panel(self, attacks: list[Record]) -> None:
        drawing = drawn(attacks)
        found = words(drawing)
        assert drawing.name == "norm-against-queries"
        assert "queries per image" in found
        assert {"median L2 norm, input units", "median L-infinity norm, input units"} <= set(found)
        assert found.count("hopskipjump, semantics=paper") == 1
        assert "deepfool (white box)" in found
        assert [len(axes.lines) for axes in drawing.figure.axes] == [4, 2]
        assert {axes.get_xscale() + axes.get_yscale() for axes in drawing.figure.axes} == {"loglog"}
        assert "geoda: L2 norm 0.410 after 2,000 queries" in drawing.alt

    def test_lines_show_the_record(self, attacks: list[Record]) -> None:
        upper, lower = drawn(attacks).figure.axes
        trajectory = attacks[1]["outcome"]["trajectory"]
        assert list(upper.lines[1].get_xdata()) == trajectory["queries"]
        assert list(upper.lines[1].get_ydata()) == trajectory["median_distance"]
        assert set(upper.lines[3].get_ydata()) == {attacks[3]["outcome"]["distance"]["median"]}
        assert upper.lines[3].get_linestyle() == "--"
        assert len({line.get_color() for line in upper.lines}) == 4
        assert lower.lines[0].get_color() == upper.lines[0].get_color()

    def test_without_progress_there_is_a_mark_and_without_norm_nothing(self, attack: Record) -> None:
        attack["outcome"]["trajectory"] = None
        (line,) = drawn([attack]).figure.axes[0].lines
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([1999.0], [attack["outcome"]["distance"]["median"]])
        assert norm_against_queries(parse(make_attack(images=2))) is None
        assert len(drawn([attack, make_attack("geoda", images=2)]).figure.axes[0].lines) == 1

    def test_gradients_alone_have_no_numbers_of_queries(self, attacks: list[Record]) -> None:
        (axes,) = drawn([attacks[3]]).figure.axes
        assert [tick.get_text() for tick in axes.get_xticklabels()] == []
        low, high = axes.get_ylim()
        assert high / low >= 3.9

    def test_many_attacks_look_different(self) -> None:
        looks = series_styles(map(str, range(30)), dashed=["3"])
        assert len({(look.colour, look.marker, look.dash) for look in looks.values()}) == 30
        assert len({look.colour for look in list(looks.values())[:12]}) == 12
        assert looks["3"].dash[1]

    def test_everything_is_saved(self, attack_folders: list[Path], tmp_path: Path) -> None:
        record = load_record(attack_folders[0] / "record.json")
        pictures = load_pictures(attack_folders[0] / "pictures.npz")
        files = save_all(record, tmp_path, pictures=pictures, dpi=40)
        assert [file.name for file in files] == [
            "norm-against-queries.svg",
            "norm-against-queries.png",
            "pictures.svg",
            "pictures.png",
        ]
        assert [file.name for file in save_all(record, tmp_path, dpi=40)] == [file.name for file in files[:2]]
        with pytest.raises(ConfigurationError, match="one entry of pictures for each record, 1 in all; got 2"):
            draw_attacks([record], pictures=[None, None])  # type: ignore[list-item]

    def test_pictures_stand_in_rows_with_the_norm_of_the_record(self, attack_folders: list[Path]) -> None:
        record = load_record(attack_folders[4] / "record.json")
        pictures = load_pictures(attack_folders[4] / "pictures.npz")
        (grid,) = [drawing for drawing in draw_all(record, pictures=pictures) if drawing.name == "pictures"]
        found = words(grid)
        assert sum(text.startswith("Linf 0.0") for text in found) == 5
        assert found.count("hopskipjump") == 1
        assert "the target's label" in grid.alt


class TestPage:
    def test_one_page_has_everything(self, attacks: list[Record], attack_folders: list[Path]) -> None:
        text = render_attacks(attacks, [folder / "pictures.npz" for folder in attack_folders])
        check_self_contained(text)
        page = Page(text)
        for expected in (
            "Attacks on net",
            "variegate attack geoda --model net --data cifar10/",
            "sha256:0123456789abcdef",
            "109/118; 87-94",
            Status.NO_STARTING_POINT.advice,
            "dct:8",
            "What the words mean",
        ):
            assert expected in page.text, expected
        assert len(page.all("svg")) == 7
        assert len(page.ids) == len(set(page.ids))
        assert {str(a["href"])[1:] for a in page.all("a")} <= set(page.ids)
        assert "None" not in page.text
        assert "nan" not in page.text

    def test_without_pictures_and_without_success(self) -> None:
        page = Page(render_html(make_attack(images=2)))
        assert "No attack found an adversarial." in page.text
        assert "No pictures were kept." in page.text
        assert page.all("svg") == []

    def test_hostile_names_are_escaped(self, attack: Record) -> None:
        for path in ("attack.name", "target.name", "command", "data.name", "source", "error", "target.digest"):
            changed(attack, path, HOSTILE)
        attack["attack"]["parameters"] = {HOSTILE: HOSTILE}
        attack["attack"]["oracle"] = {**JITTER, "jitter": HOSTILE}
        for text in (render_html(attack), render_attacks([attack, attack])):
            assert "<script" not in text.lower()
            check_self_contained(text)
            assert "alert('x')" in Page(text).text

    def test_attacks_do_not_share_a_page_with_audits(self, attack: Record, record: Record) -> None:
        for records in ([attack, record], [record, attack], []):
            with pytest.raises(ConfigurationError, match="a page of attacks takes attack records alone"):
                render_attacks(records)
        with pytest.raises(ConfigurationError, match="a page of attacks takes attack records alone"):
            render_html(record, None, [attack])
        with pytest.raises(ConfigurationError, match="an index holds audits and calibrations"):
            render_index([attack])


def test_names_cannot_steer_the_terminal(attack: Record) -> None:
    attack["attack"]["name"] = attack["command"] = "a\x1b[31m\u202eb\nc"
    text = render_text(attack)
    assert not {"\x1b", "\u202e"} & set(text)
    assert "b\nc" not in text


def test_the_samples_are_plain_json(attacks: list[Record]) -> None:
    assert json.loads(json.dumps(attacks, allow_nan=False)) == attacks
