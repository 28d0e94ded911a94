"""A study that is small enough for tests: three networks, barely trained, on the digits."""

from pathlib import Path

import pytest
from safetensors.torch import save_file

from variegate.data.catalog import load_dataset
from variegate.experiments.paper.study import StudySource
from variegate.manifest import ModelManifest
from variegate.models.architectures.catalog import build_architecture
from variegate.models.loading import prepare_import
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec
from variegate.training.supervised import train_classifier


@pytest.fixture(scope="session")
def tiny_originals(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[ModelManifest, Path], ...]:
    """Three networks trained independently for two epochs, as a home would hold them."""
    found, data = [], load_dataset("digits", split="train")
    for seed in range(3):
        folder = tmp_path_factory.mktemp(f"original-{seed}")
        module = build_architecture("digits_cnn", {"num_classes": 10, "in_channels": 1}, seed=seed)
        module = train_classifier(module, data.images, data.labels, epochs=2, seed=seed)
        weights = folder / "weights.safetensors"
        save_file(module.state_dict(), weights)
        imported = prepare_import(
            weights, name=f"net-{seed}", architecture="digits_cnn", labels=10, input_shape=(1, 8, 8)
        )
        found.append((imported.manifest, folder))
    return tuple(found)


@pytest.fixture
def tiny_source(tiny_originals: tuple[tuple[ModelManifest, Path], ...]) -> StudySource:
    """Three originals, 60 test images, all three rewriters."""
    specs = (
        PermutationSpec(alpha=0.5),
        SpreadSpectrumSpec(strength=0.2),
        QimSpec(messages_per_class=4, quantization_step=0.1, strength=1.0),
    )
    return StudySource(
        name="tiny",
        data="digits",
        originals=tiny_originals,
        specs={spec.rewriter: spec.to_dict() for spec in specs},
        test_limit=60,
    )
