"""A registry with one model and one spec, and a maker of rows."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from variegate.authority.issuing import copy_id
from variegate.manifest import ModelManifest, digest
from variegate.registry.protocol import CopyRow
from variegate.registry.sqlite import SqliteStore
from variegate.types import Bounds

SPEC = {"rewriter": "qim", "messages_per_class": 16, "strength": 2.0}


def model_manifest(name: str = "net", **changes) -> ModelManifest:
    values = {
        "name": name,
        "architecture": "vgg11",
        "arguments": {"num_classes": 2},
        "input_shape": (3, 32, 32),
        "bounds": Bounds(),
        "labels": ("stop", "yield"),
        "weights_digest": "sha256:" + "0" * 64,
        "files": {"weights.safetensors": "0" * 64},
    }
    return ModelManifest(**(values | changes))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "registry.db", create=True) as store:
        store.add_model(model_manifest())
        store.add_spec("first", SPEC)
        yield store


@pytest.fixture
def row() -> Callable[..., CopyRow]:
    def make(buyer: str, *, spec: dict = SPEC, model: str = "net", **changes) -> CopyRow:
        values = {
            "model": model,
            "model_digest": model_manifest(model).digest,
            "spec_digest": digest(spec),
            "buyer": buyer,
            "epoch": 1,
            "issued_at": 1_790_000_000,
        } | changes
        name = copy_id(**{key: values[key] for key in ("model_digest", "spec_digest", "buyer", "epoch")})
        return CopyRow(**({"copy_id": name} | values))

    return make
