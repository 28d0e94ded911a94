"""The whole loop on one page: train, import, calibrate, issue, attack, replay, report. No network and no data needed.

A small network learns scikit-learn's handwritten digits; a new seller's home receives it; five buyers get their copies;
an audit then shows what HopSkipJump finds on one copy and what of it works on the others.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import save

from variegate.attacks.hopskipjump import HopSkipJump
from variegate.authority.authority import Authority
from variegate.data import load_dataset
from variegate.errors import ConflictError
from variegate.experiments.calibration import calibrate_spec
from variegate.experiments.replication import AuditSpec, audit_replicate
from variegate.files import write_atomic
from variegate.keys import SellerSecret
from variegate.models.architectures.catalog import build_architecture
from variegate.models.classifier import Classifier
from variegate.models.loading import ImportedModel, prepare_import
from variegate.records.calibration import CalibrationRecord
from variegate.records.load import write_record
from variegate.records.replication import ReplicationRecord
from variegate.report.render import render_html
from variegate.rewriters.base import AbstractSpec
from variegate.training import train_classifier
from variegate.types import Bounds

_MODEL: Final = "digits"
_ARCHITECTURE: Final = "digits_cnn"
_REWRITERS: Final = ("spread_spectrum", "permutation", "qim")
_BUYERS: Final = tuple(f"buyer-{i}" for i in range(1, 6))
_EPOCHS: Final = 12
_ATTACK: Final = HopSkipJump()


def run_quickstart(out: Path, progress: Callable[[str, int, int], None]) -> ReplicationRecord:
    """Run everything into the new folder `out` and return the audit's record.

    Writes `out`/home (a seller's home with the model, the specs and fifteen issued copies; its secret is not kept),
    `out`/audit (record and pictures) and `out`/report.html. About 90 seconds on two cores.

    Raises:
        ConflictError: `out` holds something already.
    """
    if out.exists() and any(out.iterdir()):
        raise ConflictError(f"{out} is not empty; choose another folder with --out, or remove it")
    train = load_dataset("digits", split="train")
    test = load_dataset("digits", split="test")
    networks = [_train(train.images, train.labels, len(train.class_names), seed, progress) for seed in (0, 1)]
    with Authority.create(out / "home", SellerSecret.generate()) as desk:
        desk.import_model(_imported(out, networks[0], train.class_names))
        original = desk.original(_MODEL)
        specs: list[AbstractSpec] = []
        records: list[CalibrationRecord] = []
        for rewriter in _REWRITERS:
            result = calibrate_spec(
                original,
                train.images,
                rewriter=rewriter,
                max_change=0.01,
                attack_images=16,
                attack_queries=1000,
                progress=progress,
            )
            name = f"{_MODEL}-{rewriter}"
            desk.save_spec(name, result.spec, model=_MODEL, record=result.record.to_dict())
            desk.issue(_MODEL, name, [f"{buyer}-{rewriter}" for buyer in _BUYERS])
            specs.append(result.spec)
            records.append(result.record)
    spec = AuditSpec(
        model_name=_MODEL,
        data_name=test.name,
        split="test",
        rewriters=tuple(specs),
        copies=4,
        images=40,
        queries=1500,
        attack=_ATTACK,
        command="variegate quickstart",
    )
    other = Classifier(networks[1], input_shape=test.images.shape[1:], labels=test.class_names)
    record = audit_replicate(
        spec,
        original=original,
        independent=[other],
        images=test.images,
        labels=test.labels,
        out=out / "audit",
        progress=progress,
    )
    page = render_html(record, pictures=out / "audit" / "pictures.npz", extras=records)
    write_atomic(out / "report.html", page.encode())
    for rewriter, kept in zip(_REWRITERS, records, strict=True):
        write_record(out / "audit" / f"calibration-{rewriter}.json", kept)
    return record


def _train(
    images: np.ndarray, labels: np.ndarray, classes: int, seed: int, progress: Callable[[str, int, int], None]
) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build_architecture(_ARCHITECTURE, {"num_classes": classes})
    return train_classifier(
        module,
        images,
        labels,
        epochs=_EPOCHS,
        seed=seed,
        progress=lambda report: progress(f"training network {seed + 1} of 2", report.epoch, report.epochs),
    )


def _imported(out: Path, module: torch.nn.Module, class_names: tuple[str, ...]) -> ImportedModel:
    weights = out / "digits.safetensors"
    write_atomic(weights, save({name: tensor.contiguous() for name, tensor in module.state_dict().items()}))
    return prepare_import(
        weights,
        name=_MODEL,
        architecture=_ARCHITECTURE,
        arguments={"num_classes": len(class_names)},
        code_path=None,
        input_shape=(1, 8, 8),
        bounds=Bounds(),
        labels=class_names,
        mean=None,
        std=None,
        outputs="logits",
    )
