"""Sentences, cautions and derived numbers."""

from collections.abc import Callable
from typing import Any

import pytest

from variegate.records.base import Rate
from variegate.records.load import parse_record
from variegate.report import formatting as words
from variegate.report.measures import accuracy_change, cautions, mean_accuracy, norm_kept, rate_at, stops_protecting
from variegate.report.views.calibration import calibration_verdict
from variegate.report.views.replication import sentences, setting

Record = dict[str, Any]


def group_of(record: Record, name: str) -> Record:
    return next(group for group in record["groups"] if group["name"] == name)


def set_rate(rate: Record, k: int, n: int, low: float, high: float) -> None:
    rate.update(rate=k / n if n else None, k=k, n=n, low=low, high=high)


def test_protection_ends_where_half_are_fooled_and_by_the_ends_of_the_interval(record: Record) -> None:
    curve = group_of(record, "qim")["replication_within"]
    for point in curve:
        set_rate(point["rate"], 49, 100, 0.40, 0.499)
    assert stops_protecting(parse_record(record).group("qim")).words == ">2 [>2, >2]"
    for position, (k, low, high) in {3: (45, 0.36, 0.5), 5: (50, 0.41, 0.59), 8: (60, 0.5, 0.69)}.items():
        for point in curve[position:]:
            set_rate(point["rate"], k, 100, low, high)
    threshold = stops_protecting(parse_record(record).group("qim"))
    assert (threshold.first, threshold.epsilon, threshold.last, threshold.largest) == (0.4, 0.6, 1.5, 2.0)
    assert threshold.words == "0.6 [0.4, 1.5]"
    for point in curve[8:]:
        set_rate(point["rate"], 60, 100, 0.499, 0.69)  # exactly one half is enough, less is not
    parsed = parse_record(record)
    assert stops_protecting(parsed.group("qim")).words == "0.6 [0.4, >2]"
    assert "Protection ends at L2 norm 0.6 (by the interval's ends: 0.4 and beyond 2)." in sentences(parsed)[5]


def test_protection_without_a_curve_is_not_measured(record: Record) -> None:
    group_of(record, "qim")["replication_within"] = []
    parsed = parse_record(record)
    assert stops_protecting(parsed.group("qim")).words == "not measured"
    assert any("QIM" in line and "protection ends was not measured" in line for line in sentences(parsed))


def test_the_norm_kept_is_relative_to_identical_copies(record: Record) -> None:
    for name, values in (("identical", [1.0, 2.0, 3.0]), ("qim", [0.5, 0.5, 9.0])):
        for attacker in group_of(record, name)["attack"]["attackers"]:
            attacker["distances"] = values
    parsed = parse_record(record)
    assert norm_kept(parsed, parsed.group("qim")) == 0.25
    assert norm_kept(parsed, parsed.group("identical")) == 1.0
    assert norm_kept(parsed, parsed.group("noise")) is None
    record["groups"] = record["groups"][1:]
    parsed = parse_record(record)
    assert norm_kept(parsed, parsed.group("qim")) is None


def test_accuracy_has_a_mean_and_a_sample_deviation(record: Record) -> None:
    accuracy = group_of(record, "qim")["accuracy"]
    accuracy["original"] = {"n": 100, "correct": 90}
    accuracy["copies"] = [{"n": 100, "correct": correct, "labels_changed": 4} for correct in (86, 88)]
    group = parse_record(record).group("qim")
    assert mean_accuracy(group) == pytest.approx((0.87, 0.02**0.5 / 10), abs=1e-12)
    assert accuracy_change(group) == pytest.approx(-0.03)
    accuracy["copies"].pop()
    assert mean_accuracy(parse_record(record).group("qim")) == (0.86, None)


def test_sentences_hold_the_counts(record: Record) -> None:
    lines = sentences(parse_record(record))
    assert len(lines) == 6
    assert lines[0].startswith("Identical copies: at equal step (s = 1) replicated 1,800 of 1,800 (100.0 %, 95 %")
    assert lines[2].startswith("Random noise: at equal step (s = 1) fooled 22 of 1,800 (1.2 %")
    assert "Protection ends" not in lines[2]
    assert "Protection ends at L2 norm 0.6 (by the interval's ends: 0.5 and 0.6)." in lines[4]
    assert "Protection ends at L2 norm 1 (by the interval's ends: 1 and 1)." in lines[5]
    assert "The price: own adversarials have" in lines[5]
    assert "3.5 % of the labels" in lines[5]
    assert "The price" not in lines[1]
    assert "120 images of cifar10 (test)" in setting(parse_record(record))


def test_a_sound_record_has_no_cautions(make: Callable[..., Record]) -> None:
    assert cautions(parse_record(make(groups=("identical", "independent", "noise", "qim")))) == ()


def caution(record: Record, words_: str) -> bool:
    return any(words_ in line for line in cautions(parse_record(record)))


@pytest.mark.parametrize(("images", "warned"), [(99, True), (100, False)])
def test_few_images(make: Callable[..., Record], images: int, warned: bool) -> None:
    assert caution(make(groups=("identical",), images=images), "images were attacked") is warned


def test_missing_controls(make: Callable[..., Record]) -> None:
    assert caution(make(groups=("identical", "qim")), "Controls are missing: independent training, random noise")


def test_an_identical_control_below_100_per_cent_at_s_105(record: Record) -> None:
    identical = group_of(record, "identical")
    set_rate(identical["replication_at"][0]["rate"], 1700, 1800, 0.9, 0.99)
    assert not caution(record, "must be 100 %")  # at s = 1, points lie on the boundary itself
    set_rate(identical["replication_at"][1]["rate"], 1799, 1800, 0.99, 1.0)
    assert caution(record, "only 1,799 of 1,800 (99.9 %, 95 % interval 99.0 to 100.0 %) replicate at s = 1.05")


def test_noise_that_fools_is_a_floor(record: Record) -> None:
    set_rate(group_of(record, "noise")["replication_at"][0]["rate"], 360, 1800, 0.18, 0.22)
    assert caution(record, "Random noise: noise alone fools 360 of 1,800")
    set_rate(group_of(record, "qim")["noise_at"][0]["rate"], 400, 1800, 0.2, 0.24)
    assert caution(record, "QIM: random noise as large as the adversarials already fools 400 of 1,800")


def test_low_attack_success_is_masking(record: Record) -> None:
    set_rate(group_of(record, "qim")["rates"]["attack_success_rate"], 200, 360, 0.5, 0.6)
    assert caution(record, "QIM: the attack succeeds on only 200 of 360")


@pytest.mark.parametrize(
    ("factor", "words_"), [(3.0, "That is masking, not protection"), (0.4, "the strength has its price")]
)
def test_norms_far_from_the_original(record: Record, factor: float, words_: str) -> None:
    assert not caution(record, f"QIM: {words_}")
    for attacker in group_of(record, "qim")["attack"]["attackers"]:
        attacker["distances"] = [factor * value for value in attacker["distances"]]
    assert caution(record, words_)


def test_other_prices_and_doubts(record: Record) -> None:
    qim = group_of(record, "qim")
    for each in qim["accuracy"]["copies"]:
        each["correct"] = 1600
    set_rate(qim["rates"]["replication_rate"], 600, 1800, 0.2, 0.5)
    qim["attack"]["reverified"] = 300
    assert caution(record, "QIM: accuracy falls by 6.5 points.")
    assert caution(record, "31.6 points of the replication rate come from inputs that the victim gets wrong anyway")
    assert caution(record, "QIM: the interval of the replication rate is 30.0 points wide.")
    assert caution(record, "misclassifies only 300 of 360 adversarials")


def test_a_single_copy_is_said(make: Callable[..., Record]) -> None:
    record = make(groups=("qim",), copies=1)
    assert caution(record, "there is a single copy")
    assert rate_at(parse_record(record).groups[0], 1.0) is None


def test_a_calibration_in_words(calibration: Record) -> None:
    assert calibration_verdict(parse_record(calibration)) == (
        "24 settings were tried. Chosen: strength 2, messages per class 32, quantization step 0.1: it changes 1.4 % of "
        "the labels; adversarials replicate 13.9 % at s = 1, 55.6 % at s = 1.5, 83.4 % at s = 2; own adversarials have "
        "0.656 times the norm of the original's."
    )
    calibration["candidates"] = calibration["candidates"][:1]
    assert calibration_verdict(parse_record(calibration)) == "1 setting was tried. None met the limits."


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(None, "-"), (0.0, "0.0"), (0.0004, "<0.1"), (0.0005, "0.1"), (0.125, "12.5"), (0.9996, ">99.9"), (1.0, "100.0")],
)
def test_percentages_are_never_rounded_to_none_or_all(fraction: float | None, text: str) -> None:
    assert words.percent(fraction) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.4831, "0.483"), (1.0, "1.00"), (12.34, "12.3"), (123.4, "123"), (3e-7, "3.00e-07")],
)
def test_norms(value: float | None, text: str) -> None:
    assert words.norm(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.21, "4.2 s"), (59.99, "60.0 s"), (65, "1 min 05 s"), (3725, "1 h 02 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_names() -> None:
    assert words.group_title("qim") == "QIM"
    assert words.group_title("qim-2") == "QIM (2)"
    assert words.group_title("hash_noise") == "hash_noise"
    assert words.copy_names(("vg1-aa0001", "vg1-aa0002")) == ("vg1-aa0001", "vg1-aa0002")
    assert words.copy_names(("permutation-000", "permutation-001")) == ("…000", "…001")
    assert words.copy_names(("same-long-label", "same-long-label")) == ("same-l…label",) * 2
    assert words.copy_names(()) == ()


def test_a_rate_without_interval_is_said_without() -> None:
    rate = Rate(rate=0.5, k=1, n=2, low=None, high=None, interval="")
    assert words.rate_words(rate) == "1 of 2 (50.0 %)"
    assert words.interval(rate) == "-"
