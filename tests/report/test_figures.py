"""Figures: well-formed, described, legible, and nothing left behind in matplotlib's global state."""

import re
import sys
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest

from variegate.errors import ConfigurationError, FormatError, InputError, NotFoundError
from variegate.records.load import parse_record
from variegate.report.drawing import Drawing, plain, spaced_ticks
from variegate.report.figures.calibration import trade_off
from variegate.report.figures.gallery import load_pictures, picture_grid
from variegate.report.figures.matrices import heat_map
from variegate.report.figures.replication import comparison, norm_histogram, security_curve, trajectory_curve
from variegate.report.palette import group_styles
from variegate.report.render import draw_all, save_all

Record = dict[str, Any]


def texts(drawing: Drawing) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing.inline_svg())


@pytest.fixture(scope="module")
def drawings(_record: Record, pictures: Path) -> dict[str, Drawing]:
    drawn = draw_all(parse_record(_record), pictures=load_pictures(pictures))
    return {drawing.name: drawing for drawing in drawn}


def test_everything_is_drawn_once(drawings: dict[str, Drawing]) -> None:
    assert list(drawings) == [
        "overshoot",
        "security",
        "matrix-identical",
        "matrix-independent",
        "matrix-noise",
        "matrix-spread-spectrum",
        "matrix-permutation",
        "matrix-qim",
        "norms",
        "trajectory",
        "pictures",
    ]


def test_every_figure_is_valid_and_describes_itself(drawings: dict[str, Drawing]) -> None:
    for drawing in drawings.values():
        for source in (drawing.svg(), drawing.inline_svg("a-").replace("<svg ", '<svg xmlns:h="urn:h" ', 1)):
            root = ET.fromstring(source)
            title, description = root[0], root[1]
            assert (title.tag.split("}")[-1], title.text) == ("title", drawing.title)
            assert (description.tag.split("}")[-1], description.text) == ("desc", drawing.alt)
            assert root.get("role") == "img"
            assert root.get("aria-labelledby") == title.get("id")
            assert root.get("aria-describedby") == description.get("id")
        assert len(drawing.alt) > 40
        assert "nan" not in drawing.alt


def test_inline_figures_share_no_id_and_load_nothing(drawings: dict[str, Drawing]) -> None:
    sources = [drawing.inline_svg("a-") for drawing in drawings.values()] + [drawings["security"].inline_svg("b-")]
    ids = [re.findall(r'\bid="([^"]+)"', source) for source in sources]
    assert len(set().union(*ids)) == sum(map(len, ids))
    for source, known in zip(sources, ids, strict=True):
        assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', source)) <= {(i, "") for i in known} | {
            ("", i) for i in known
        }
        assert "http" not in source
        assert "<style" not in source
        assert "#000000" not in source


def test_a_figure_is_the_same_every_time(drawings: dict[str, Drawing], record: Record) -> None:
    again = security_curve(parse_record(record))
    assert drawings["security"].svg() == again.svg() == again.svg()


def test_units_and_groups_stand_on_the_axes(drawings: dict[str, Drawing]) -> None:
    assert "largest L2 norm (inputs lie in [0, 1])" in texts(drawings["security"])
    assert "queries an input (one query labels one input once)" in texts(drawings["trajectory"])
    assert {"identical copies", "QIM", "spread spectrum"} <= set(texts(drawings["overshoot"]))
    assert any("median 0.4" in text and "n = 360" in text for text in texts(drawings["norms"]))
    assert any("victims fooled (%)" in text for text in texts(drawings["matrix-qim"]))


def test_the_noise_control_has_no_attack_of_its_own(drawings: dict[str, Drawing]) -> None:
    assert not [text for name in ("norms", "trajectory") for text in texts(drawings[name]) if "noise" in text]


def test_colours_are_fixed_per_group_and_controls_are_dashed() -> None:
    styles = group_styles(["identical", "independent", "noise", "spread_spectrum", "permutation", "qim", "a", "b"])
    assert [look.colour for look in styles.values()][:6] == [
        "#000000",
        "#0072B2",
        "#808080",
        "#E69F00",
        "#009E73",
        "#D55E00",
    ]
    assert len({look.colour for look in styles.values()}) == len({look.marker for look in styles.values()}) == 8
    assert [name for name, look in styles.items() if look.dash[1]] == ["identical", "independent", "noise"]
    assert group_styles(["qim"])["qim"] == styles["qim"]


def test_matplotlib_is_left_as_it_was(record: Record) -> None:
    before, loaded = dict(mpl.rcParams), "matplotlib.pyplot" in sys.modules
    security_curve(parse_record(record)).png(40)
    assert dict(mpl.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_files_are_written(drawings: dict[str, Drawing], tmp_path: Path) -> None:
    for name in ("f.svg", "f.png"):
        drawings["overshoot"].save(tmp_path / name, dpi=40)
    assert (tmp_path / "f.svg").read_text() == drawings["overshoot"].svg()
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigurationError, match=r"as \.svg or \.png; got the name 'f\.gif'"):
        drawings["overshoot"].save(tmp_path / "f.gif")


def test_a_folder_of_figures(calibration: Record, tmp_path: Path) -> None:
    files = save_all(parse_record(calibration), tmp_path, dpi=40)
    assert [file.name for file in files] == ["trade-off.svg", "trade-off.png"]
    assert all(file.stat().st_size > 1000 for file in files)


@pytest.mark.parametrize(("copies", "numbers"), [(2, 2), (12, 33), (13, 0), (100, 0)])
def test_cells_hold_numbers_up_to_twelve_copies(make: Callable[..., Record], copies: int, numbers: int) -> None:
    drawing = heat_map(parse_record(make(groups=("permutation",), copies=copies, images=20)).groups[0])
    cells = [text for text in drawing.figure.axes[0].texts if text.get_text().isdecimal()]
    assert len(cells) == numbers


def test_a_hundred_copies_stay_legible(make: Callable[..., Record]) -> None:
    drawing = heat_map(parse_record(make(groups=("qim",), copies=100, images=10)).groups[0])
    drawing.png(50)
    axes = drawing.figure.axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == [str(number) for number in range(10, 101, 10)]
        boxes = [label.get_window_extent() for label in labels]
        assert not [a for a, b in pairwise(boxes) if a.overlaps(b)]
    assert max(drawing.figure.get_size_inches()) < 9


def test_labels_of_copies_do_not_touch(make: Callable[..., Record]) -> None:
    record = make(groups=("qim",), copies=12, images=10)
    record["groups"][0]["copies"] = [f"vg1-{zlib.crc32(bytes([i])):08x}{i:08d}" for i in range(12)]
    drawing = heat_map(parse_record(record).groups[0])
    drawing.png(50)
    labels = drawing.figure.axes[0].get_yticklabels()
    assert all(len(label.get_text()) <= 12 for label in labels)
    right = drawing.figure.axes[0].get_window_extent().x0
    assert all(0 <= label.get_window_extent().x0 < label.get_window_extent().x1 <= right for label in labels)


def test_the_scale_is_shared_and_own_copies_are_hatched(drawings: dict[str, Drawing]) -> None:
    for name in ("matrix-identical", "matrix-qim"):
        axes = drawings[name].figure.axes[0]
        assert axes.images[0].get_clim() == (0.0, 100.0)
        assert len([patch for patch in axes.patches if patch.get_hatch()]) == 3


def test_a_single_pair_needs_no_heat_map(make: Callable[..., Record]) -> None:
    record = make(groups=("identical",), copies=2, images=4)
    matrix = record["groups"][0]["matrix"]
    matrix.update(attackers=[0], replicated=matrix["replicated"][:1], n=matrix["n"][:1])
    parsed = parse_record(record)
    assert heat_map(parsed.groups[0]) is not None
    assert [drawing.name for drawing in draw_all(parsed)] == ["overshoot", "security", "norms", "trajectory"]


def test_a_group_without_a_matrix_has_no_heat_map(record: Record) -> None:
    record["groups"][0]["matrix"] = None
    assert heat_map(parse_record(record).groups[0]) is None


def test_records_without_numbers_can_be_drawn(make: Callable[..., Record]) -> None:
    record = make(groups=("qim",), copies=1, images=4)
    group = record["groups"][0]
    group.update(replication_at=[], replication_within=[], attack=None)
    for drawing in draw_all(parse_record(record)):
        drawing.png(40)
    empty = trajectory_curve(parse_record(record)), norm_histogram(parse_record(record))
    assert ["not measured" in texts(drawing) for drawing in empty] == [True, True]


def test_norms_may_be_all_alike_or_far_apart(make: Callable[..., Record]) -> None:
    record = make(groups=("qim",), copies=3, images=4)
    attackers = record["groups"][0]["attack"]["attackers"]
    attackers[0]["distances"] = attackers[1]["distances"] = attackers[2]["distances"] = [0.0, 0.0]
    norm_histogram(parse_record(record)).png(40)
    attackers[0]["distances"] = [0.1] * 999 + [1e6]
    assert any("the last bar holds all larger ones" in text for text in texts(norm_histogram(parse_record(record))))


def test_hostile_names_are_drawn_as_they_stand(make: Callable[..., Record]) -> None:
    names = ("$\\frac{1}{0}$", "<script>alert(1)</script>", "a\x00b\x1b", "\u65e5\u672c", "]]>", "--><b>", "")
    record = make(groups=names, copies=2, images=4)
    record["model"]["name"] = "$^<script>"
    record["attack"]["name"] = "$_$<b>"
    parsed = parse_record(record)
    for drawing in (*draw_all(parsed), comparison([parsed])):
        text = drawing.svg()
        ET.fromstring(text)
        assert "<script" not in text
        assert "<b>" not in text


def test_the_trade_off_marks_the_choice(calibration: Record) -> None:
    drawing = trade_off(parse_record(calibration))
    shown = texts(drawing)
    assert {"strength 1", "strength 2", "strength 4", "chosen", "over a limit", "most labels allowed"} <= set(shown)
    assert "labels changed against the original (% of images)" in shown
    assert "strength 2, changes 1.4 % of the labels, replication 13.9 %, norm kept 0.656" in drawing.alt
    for candidate in calibration["candidates"]:
        candidate.update(chosen=False, replication=None, median_distance=None, strength=None)
    assert "No setting was chosen" in trade_off(parse_record(calibration)).alt


def test_the_comparison_has_a_row_per_model(make: Callable[..., Record]) -> None:
    records = [parse_record(make(groups=("identical", "qim"), name=name, images=5)) for name in ("m-0", "m-1", "m-2")]
    drawing = comparison(records)
    assert {"m-0", "m-1", "m-2", "QIM"} <= set(texts(drawing))
    assert "m-1, identical copies 100.0" in drawing.alt


def test_pictures_state_their_magnification(drawings: dict[str, Drawing]) -> None:
    drawing = drawings["pictures"]
    assert drawing.title == "Adversarials, their differences magnified x 20"
    assert texts(drawing).count("difference") == 2
    assert "L2 0.404" in texts(drawing)
    assert drawing.inline_svg().count("<image") == 4 * 2 * 3


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pictures_of_any_channels_and_bounds(tmp_path: Path, channels: int) -> None:
    arrays = archive(channels=channels)
    np.savez(tmp_path / "p.npz", **arrays)
    grid = picture_grid
    drawing = grid(load_pictures(tmp_path / "p.npz"), bounds=(-1.0, 3.0), class_names=["cat", "dog"])
    assert {"cat", "label 7"} <= set(texts(drawing))


def test_pictures_without_a_change_or_none_at_all(tmp_path: Path) -> None:
    arrays = archive()
    arrays["adversarial"] = arrays["clean"]
    np.savez(tmp_path / "p.npz", **arrays)
    drawing = picture_grid(load_pictures(tmp_path / "p.npz"))
    assert drawing.title.endswith("x 1")
    np.savez(tmp_path / "p.npz", **{name: value[:0] for name, value in arrays.items()})
    assert picture_grid(load_pictures(tmp_path / "p.npz")) is None


def archive(*, channels: int = 3) -> dict[str, np.ndarray]:
    clean = np.random.default_rng(0).random((2, channels, 8, 6), dtype=np.float32)
    return {
        "clean": clean,
        "adversarial": clean + np.float32(0.01),
        "group": np.array(["qim", "qim"]),
        "label": np.array([0, 0]),
        "adversarial_label": np.array([7, 7]),
    }


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("clean", None, "lack the array clean"),
        ("clean", np.zeros((2, 3, 8)), r"clean in p.npz must be numbers of shape \(K, C, H, W\); got float64"),
        ("clean", np.zeros((2, 0, 8, 6)), "must be numbers of shape"),
        ("adversarial", np.zeros((2, 3, 8, 5)), r"must be like clean, float32 of shape \(2, 3, 8, 6\)"),
        ("adversarial", np.full((2, 3, 8, 6), np.nan), "finite"),
        ("group", np.array(["qim"]), "group in p.npz must be 2 texts"),
        ("group", np.array([1, 2]), "group in p.npz must be 2 texts; got int64"),
        ("label", np.array([0.5, 1.0]), "label in p.npz must be 2 whole numbers; got float64"),
        ("group", np.array(["a", None], dtype=object), "cannot be read"),
    ],
)
def test_wrong_pictures_are_refused(tmp_path: Path, name: str, value: np.ndarray | None, words: str) -> None:
    arrays = archive()
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(InputError, match=words):
        load_pictures(tmp_path / "p.npz")


def test_files_that_are_no_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.npz"
    with pytest.raises(NotFoundError):
        load_pictures(path)
    for content in (b"", b"PK\x03\x04 broken", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"expected an \.npz with pictures in p\.npz"):
            load_pictures(path)
    np.savez_compressed(path, **archive())
    cut = path.read_bytes()
    path.write_bytes(cut[: len(cut) // 2])
    with pytest.raises(FormatError):
        load_pictures(path)
    np.savez_compressed(path, **archive(), zeros=np.zeros(100_000))
    monkeypatch.setattr("variegate.report.figures.gallery.MAXIMUM_BYTES", 100_000)
    with pytest.raises(InputError, match="unpack to 8"):
        load_pictures(path)


def test_ticks_keep_their_distance() -> None:
    assert spaced_ticks([1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0]) == [1.0, 1.1, 1.25, 1.5, 2.0, 3.0]
    norms = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0]
    assert spaced_ticks(norms) == [0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0]
    assert spaced_ticks([1.0]) == [1.0]
    assert spaced_ticks([]) == []


def test_plain_text_for_figures() -> None:
    assert plain("a$b$") == r"a\$b\$"
    assert plain("a\x07\u65e5") == "a\ufffd\ufffd"
    assert plain("x" * 50, limit=10) == "x" * 9 + "…"
