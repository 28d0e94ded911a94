"""Parquet files in the layout of the Hugging Face hub: a column of images, a column of integer labels.

The image column is a struct of `bytes` and `path`, or plain binary. Class names come from the schema's `huggingface`
metadata. Row groups outside the wanted window are never opened; of the others only the wanted rows are decoded.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from variegate.data.decode import decode_images, inside, read_image_file, require
from variegate.data.images import LabelledImages, ReadRequest, default_class_names
from variegate.errors import FormatError, InputError, NotFoundError

IMAGE_COLUMNS = ("img", "image", "images")
LABEL_COLUMNS = ("label", "labels", "fine_label")

_BATCH_ROWS = 512
_FOLDERS = (".", "data", "train", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    path: Path
    file: Any  # pyarrow.parquet.ParquetFile
    image_column: str
    label_column: str

    @property
    def rows(self) -> int:
        return int(self.file.metadata.num_rows)


def recognises_parquet(path: Path) -> bool:
    """Say whether `path` is a .parquet file, or a folder with some directly, under data/ or under a split's name."""
    if path.is_file():
        return path.suffix == ".parquet"
    return any(True for folder in _FOLDERS for _ in (path / folder).glob("*.parquet"))


def read_parquet(path: Path, request: ReadRequest) -> LabelledImages:
    """Read one file, or the shards `<split>-*.parquet` (or `<split>/*.parquet`, `data/<split>-*.parquet`) of a folder.

    Raises:
        ConfigurationError: if pyarrow or Pillow is missing.
        FormatError: if a file is truncated or its columns are not as expected, or an image cannot be decoded.
        InputError: if there are no rows, a label has no class, or the images differ in size.
        NotFoundError: if the folder has no file for the split.
    """
    name = path.stem if path.is_file() else path.resolve().name
    with ExitStack() as stack:
        shards = [_open(shard, stack) for shard in _find_shards(path, request.split)]
        window = request.window(sum(shard.rows for shard in shards), str(path))
        labels: list[int] = []
        images = decode_images(_rows(shards, window, labels), len(window), request)
        names = _class_names(shards[0])
        if names is None:
            names = default_class_names(1 + max(max(_all_labels(shard), default=0) for shard in shards))
    return LabelledImages(images=images, labels=np.asarray(labels, dtype=np.int64), class_names=names, name=name)


def _find_shards(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path]
    patterns = (f"{split}-*.parquet", f"{split}.parquet", f"data/{split}-*.parquet", f"{split}/*.parquet")
    for pattern in patterns:
        found = sorted(path.glob(pattern))
        if found:
            return found
    present = sorted(str(file.relative_to(path)) for folder in _FOLDERS for file in (path / folder).glob("*.parquet"))
    raise NotFoundError(
        f"{path} has no {split}-*.parquet; it has {', '.join(present[:4])}: give one of these files, or another split"
    )


def _open(path: Path, stack: ExitStack) -> _Shard:
    pyarrow = require("pyarrow", purpose="reading Parquet files")
    parquet = require("pyarrow.parquet", purpose="reading Parquet files")
    try:
        file = stack.enter_context(parquet.ParquetFile(path))
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    schema = file.schema_arrow
    image = next((column for column in IMAGE_COLUMNS if column in schema.names), None)
    label = next((column for column in LABEL_COLUMNS if column in schema.names), None)
    if image is None or label is None:
        raise FormatError(
            f"{path} must have an image column ({' or '.join(IMAGE_COLUMNS)}) and a label column "
            f"({' or '.join(LABEL_COLUMNS)}); its columns are {', '.join(schema.names[:12]) or 'none'}"
        )
    kind = schema.field(image).type
    fields = {kind.field(index).name for index in range(kind.num_fields)} if pyarrow.types.is_struct(kind) else set()
    binary = pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)
    if not (binary or fields & {"bytes", "path"}):
        raise FormatError(
            f"{path}: column {image!r} must be a struct of bytes and path, or binary; it is {str(kind)[:80]}"
        )
    if not pyarrow.types.is_integer(schema.field(label).type):
        raise FormatError(f"{path}: column {label!r} must hold integers; it holds {str(schema.field(label).type)[:80]}")
    return _Shard(path=path, file=file, image_column=image, label_column=label)


def _rows(shards: list[_Shard], window: range, labels: list[int]) -> Iterator[tuple[str, bytes]]:
    """Yield (where, encoded image) for each row of the window and append its label to `labels`."""
    start = 0
    for shard in shards:
        wanted = range(max(window.start - start, 0), min(window.stop - start, shard.rows))
        start += shard.rows
        if wanted:
            yield from _shard_rows(shard, wanted, labels)


def _shard_rows(shard: _Shard, wanted: range, labels: list[int]) -> Iterator[tuple[str, bytes]]:
    groups: list[int] = []
    group_start = row = 0
    for group in range(shard.file.metadata.num_row_groups):
        group_stop = group_start + shard.file.metadata.row_group(group).num_rows
        if group_start < wanted.stop and group_stop > wanted.start:
            row = row if groups else group_start  # the first row of the first group that is read
            groups.append(group)
        group_start = group_stop
    columns = [shard.image_column, shard.label_column]
    for batch in _batches(shard, groups, columns):
        first, last = max(wanted.start - row, 0), min(wanted.stop - row, batch.num_rows)
        if first < last:
            part = batch.slice(first, last - first)
            images = part.column(shard.image_column).to_pylist()
            for index, (image, label) in enumerate(
                zip(images, part.column(shard.label_column).to_pylist(), strict=True)
            ):
                where = f"row {row + first + index} of {shard.path.name}"
                if label is None:
                    raise FormatError(f"{where} has no label; expected an integer in column {shard.label_column!r}")
                labels.append(label)
                yield where, _image_bytes(image, shard.path.parent, where)
        row += batch.num_rows


def _batches(shard: _Shard, groups: list[int], columns: list[str]) -> Iterator[Any]:
    pyarrow = require("pyarrow", purpose="reading Parquet files")
    batches = shard.file.iter_batches(batch_size=_BATCH_ROWS, row_groups=groups, columns=columns)
    while True:
        try:
            batch = next(batches, None)
        except (pyarrow.ArrowException, OSError) as error:
            raise _unreadable(shard.path, error) from error
        if batch is None:
            return
        yield batch


def _image_bytes(image: object, folder: Path, where: str) -> bytes:
    if isinstance(image, bytes):
        return image
    if isinstance(image, dict):
        data, path = image.get("bytes"), image.get("path")
        if isinstance(data, bytes):
            return data
        if isinstance(path, str):
            return read_image_file(inside(folder, path, where))
    raise FormatError(f"{where} has no image: both bytes and path are empty")


def _all_labels(shard: _Shard) -> Iterator[int]:
    for batch in _batches(shard, list(range(shard.file.metadata.num_row_groups)), [shard.label_column]):
        yield from (label for label in batch.column(0).to_pylist() if label is not None)


def _class_names(shard: _Shard) -> tuple[str, ...] | None:
    """Return the names in the schema's `huggingface` metadata, or None where it names none."""
    raw = (shard.file.schema_arrow.metadata or {}).get(b"huggingface")
    if raw is None:
        return None
    try:
        node: Any = json.loads(raw)
    except ValueError as error:
        raise FormatError(f"{shard.path}: the schema's huggingface metadata is not JSON ({error})") from error
    for key in ("info", "features", shard.label_column, "names"):
        node = node.get(key) if isinstance(node, dict) else None
    if not isinstance(node, list) or not all(isinstance(name, str) for name in node):
        return None
    if not node:
        raise InputError(f"{shard.path}: column {shard.label_column!r} names no classes; expected at least one")
    return tuple(node)


def _unreadable(path: Path, error: Exception) -> FormatError:
    reason = " ".join(str(error).split())[:160]
    return FormatError(f"{path} is not a whole Parquet file: {reason}")
