"""Pictures and files that the readers' tests share."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image


@pytest.fixture
def pixels() -> Callable[..., NDArray[np.uint8]]:
    """`pixels(seed, height, width, channels)`: random uint8 (H, W, C), or (H, W) for one channel."""

    def make(seed: int = 0, height: int = 6, width: int = 5, channels: int = 3) -> NDArray[np.uint8]:
        shape = (height, width) if channels == 1 else (height, width, channels)
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return make


@pytest.fixture
def png() -> Callable[..., bytes]:
    """`png(array)`: the picture as PNG bytes (lossless); `kind` for another format."""

    def encode(array: NDArray[np.uint8], kind: str = "PNG") -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, kind)
        return buffer.getvalue()

    return encode


@pytest.fixture
def write_parquet() -> Callable[..., Path]:
    """`write_parquet(path, images, labels)`: a file as the hub has it; images are bytes, dicts or None."""

    def write(
        path: Path,
        images: Sequence[object],
        labels: Sequence[object],
        *,
        names: Sequence[str] | None = None,
        columns: tuple[str, str] = ("image", "label"),
        metadata: bytes | None = None,
        rows_per_group: int = 4,
    ) -> Path:
        rows = [{"bytes": image, "path": None} if isinstance(image, bytes) else image for image in images]
        struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table({columns[0]: pa.array(rows, struct), columns[1]: pa.array(labels)})
        if names is not None:
            features = {columns[0]: {"_type": "Image"}, columns[1]: {"names": list(names), "_type": "ClassLabel"}}
            metadata = json.dumps({"info": {"features": features}}).encode()
        if metadata is not None:
            table = table.replace_schema_metadata({"huggingface": metadata})
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=rows_per_group)
        return path

    return write
