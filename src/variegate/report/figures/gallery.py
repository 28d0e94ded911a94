"""The pictures beside a record: clean input, adversarial, and their difference, magnified."""

import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from variegate.errors import FormatError, InputError
from variegate.files import read_bounded
from variegate.report.drawing import GRID, WIDTH, Axes, Drawing, Figure, plain, style, titled
from variegate.report.formatting import group_title, norm
from variegate.report.palette import BLACK, group_styles

MAXIMUM_BYTES = 256 * 2**20
PER_GROUP = 2
MAGNIFICATIONS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """K pairs of inputs.

    Attributes:
        clean, adversarial: (K, C, H, W) float32 within the model's bounds.
        groups: K group names.
        labels, adversarial_labels: K classes, of the clean input and as the original sees the adversarial.
    """

    clean: Array
    adversarial: Array
    groups: tuple[str, ...]
    labels: tuple[int, ...]
    adversarial_labels: tuple[int, ...]


def load_pictures(path: Path) -> Pictures:
    """Read the .npz beside a record. No pickles are read, and no more than 256 MiB are unpacked.

    Raises:
        NotFoundError: if there is no such file.
        FormatError: if it is no such .npz.
        InputError: if an array is missing or has another shape; the sentence names it.
    """
    data = read_bounded(path, MAXIMUM_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAXIMUM_BYTES:
            raise InputError(
                f"the pictures in {path.name} unpack to {unpacked} bytes; expected at most {MAXIMUM_BYTES}"
            )
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise FormatError(f"expected an .npz with pictures in {path.name}; it cannot be read ({error})") from error
    for name in ("clean", "adversarial", "group", "label", "adversarial_label"):
        if name not in found:
            raise InputError(
                f"the pictures in {path.name} lack the array {name}; it holds {', '.join(found) or 'nothing'}"
            )
    return _checked(found, path.name)


def picture_grid(
    pictures: Pictures,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    order: Sequence[str] = (),
    class_names: Sequence[str] = (),
    rows: int = 1,
    size: str = "l2",
    judge: str = "original",
    name: str = "pictures",
    heading: str = "",
) -> Drawing | None:
    """Rows per group with two examples each: clean, adversarial, difference.

    Args:
        pictures: what `load_pictures` read.
        bounds: the range of the inputs: black and white.
        order: groups in the order of their rows; groups that are not named come last.
        class_names: names of the classes; without them, labels are shown as numbers.
        rows: how many rows a group may take.
        size: the norm below the differences, "l2" or "linf".
        judge: who labelled the adversarials.
        name: of the drawing.
        heading: what the title begins with.

    Returns:
        None where there are no pictures. The difference is drawn around mid-grey, times one magnification for all,
        which the title states.
    """
    groups = [group for group in order if group in pictures.groups]
    groups += [group for group in dict.fromkeys(pictures.groups) if group not in groups]
    if not groups:
        return None
    difference = (pictures.adversarial - pictures.clean) / np.float32(bounds[1] - bounds[0])
    factor = _magnification(difference)
    title = f"{f'{heading}: adversarials' if heading else 'Adversarials'}, their differences magnified x {factor}"
    styles = group_styles(groups)
    examples = max(min(PER_GROUP, pictures.groups.count(group)) for group in groups)
    layout = [row for group in groups for row in _rows_of(pictures, group, rows)]
    with style():
        height, width = pictures.clean.shape[2:]
        cell = (WIDTH - 1.0) / 6
        tall = min(max(cell * height / width, 0.3), 3.0) + 0.22
        figure = Figure(figsize=(1.0 + 3 * examples * cell, 0.65 + tall * len(layout)), layout="constrained")
        titled(figure, title)
        panels = figure.subplots(len(layout), 3 * examples, squeeze=False)
        for row, (group, chosen) in enumerate(layout):
            if group:
                _row_title(panels[row][0], plain(styles[group].title, limit=24))
            for slot in range(examples):
                triple = panels[row][3 * slot : 3 * slot + 3]
                if slot < len(chosen):
                    _example(triple, pictures, chosen[slot], bounds, difference * factor, class_names, size)
                else:
                    for axes in triple:
                        axes.set_axis_off()
        for axes, head in zip(panels[0], ("clean", "adversarial", "difference") * examples, strict=True):
            axes.set_title(head, fontsize=8.5, pad=3.0, color=BLACK)
    shown = ", ".join(f"{group_title(group)} ({pictures.groups.count(group)})" for group in groups)
    alt = (
        f"Grid of pictures, rows by group: clean input, adversarial and their difference magnified {factor} times. "
        f"Groups and pictures kept: {shown}. Below: class, the {judge}'s label for the adversarial, norm."
    )
    return Drawing(name=name, title=title, alt=alt, figure=figure)


def _rows_of(pictures: Pictures, group: str, rows: int) -> list[tuple[str, list[int]]]:
    """For each row of a group, the group's name in the first of them and the positions of its pictures."""
    found = [index for index, other in enumerate(pictures.groups) if other == group][: rows * PER_GROUP]
    starts = range(0, len(found), PER_GROUP)
    return [("" if start else group, found[start : start + PER_GROUP]) for start in starts]


def _checked(found: dict[str, npt.NDArray[np.generic]], file: str) -> Pictures:
    clean, adversarial = found["clean"], found["adversarial"]
    if clean.ndim != 4 or clean.dtype.kind not in "fiu" or 0 in clean.shape[1:]:
        raise InputError(f"the array clean in {file} must be numbers of shape (K, C, H, W); got {_kind(clean)}")
    if adversarial.shape != clean.shape or adversarial.dtype.kind not in "fiu":
        raise InputError(
            f"the array adversarial in {file} must be like clean, {_kind(clean)}; got {_kind(adversarial)}"
        )
    for name, kinds in (("group", "U"), ("label", "iu"), ("adversarial_label", "iu")):
        if found[name].shape != clean.shape[:1] or found[name].dtype.kind not in kinds:
            what = "texts" if kinds == "U" else "whole numbers"
            raise InputError(f"the array {name} in {file} must be {len(clean)} {what}; got {_kind(found[name])}")
    pictures = Pictures(
        clean=clean.astype(np.float32),
        adversarial=adversarial.astype(np.float32),
        groups=tuple(map(str, found["group"])),
        labels=tuple(map(int, found["label"].tolist())),
        adversarial_labels=tuple(map(int, found["adversarial_label"].tolist())),
    )
    if not (np.isfinite(pictures.clean).all() and np.isfinite(pictures.adversarial).all()):
        raise InputError(f"the pictures in {file} must be finite numbers; they hold NaN or infinity")
    return pictures


def _kind(array: npt.NDArray[np.generic]) -> str:
    return f"{array.dtype} of shape {array.shape}"


def _magnification(difference: Array) -> int:
    """The largest round factor at which the strongest hundredth of the differences still fits around mid-grey."""
    strong = float(np.quantile(np.abs(difference), 0.99)) if difference.size else 0.0
    if strong == 0.0 or not math.isfinite(strong):
        return 1
    return max((factor for factor in MAGNIFICATIONS if factor * strong <= 0.5), default=1)


def _row_title(axes: Axes, text: str) -> None:
    axes.set_ylabel(text.replace(" ", "\n"), rotation=0, ha="right", va="center", fontsize=9.0, color=BLACK)


def _example(
    triple: Sequence[Axes],
    pictures: Pictures,
    index: int,
    bounds: tuple[float, float],
    magnified: Array,
    class_names: Sequence[str],
    size: str,
) -> None:
    low, high = bounds
    shown = [(image[index] - low) / (high - low) for image in (pictures.clean, pictures.adversarial)]
    change = (pictures.adversarial[index] - pictures.clean[index]).astype(np.float64).ravel()
    length = float(np.linalg.norm(change, ord=np.inf if size == "linf" else 2))
    below = (
        _class(pictures.labels[index], class_names),
        _class(pictures.adversarial_labels[index], class_names),
        f"{size.replace('l', 'L', 1)} {norm(length)}",
    )
    for axes, image, text in zip(triple, [*shown, 0.5 + magnified[index]], below, strict=True):
        axes.imshow(_for_screen(image), vmin=0.0, vmax=1.0, cmap="gray", interpolation="none")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(True)
        axes.spines[:].set_color(GRID)
        axes.set_xlabel(plain(text, limit=16), fontsize=8.0, labelpad=2.0)


def _for_screen(image: Array) -> Array:
    """(C, H, W) to what imshow takes: colour for 3 channels, grey for any other number (their mean)."""
    image = np.clip(image, 0.0, 1.0)
    return np.moveaxis(image, 0, -1) if image.shape[0] == 3 else image.mean(axis=0)


def _class(label: int, names: Sequence[str]) -> str:
    if label < 0:
        return "not asked"
    return names[label] if label < len(names) else f"label {label}"
