"""Every kind of record goes from its writer to a file, to the reader and to every view."""

import json
import math

import numpy as np
import pytest
import torch

from tests.experiments.paper.conftest import tiny_originals, tiny_source  # noqa: F401 (fixtures)
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.data.images import LabelledImages
from variegate.experiments.attack import SingleAttack
from variegate.experiments.calibration import calibrate_spec
from variegate.experiments.collusion import audit_collude
from variegate.experiments.collusion_settings import CollusionSpec
from variegate.experiments.cross_check import CrossCheck, cross_check
from variegate.experiments.paper.paper import Effort
from variegate.experiments.paper.run import EXPERIMENTS, reproduce
from variegate.experiments.replication import AuditSpec, audit_replicate
from variegate.models.classifier import Classifier
from variegate.records.load import KINDS, load_record, write_record
from variegate.report.render import draw_all, render_html, render_text
from variegate.report.views.catalog import VIEWS
from variegate.rewriters.permutation import PermutationSpec
from variegate.testing.seller import small_classifier

NAMES = {"model_name": "small", "data_name": "noise", "split": "test"}
TINY = Effort(
    name="tiny",
    copies=2,
    accuracy_images=20,
    attack_images=6,
    deal=True,
    queries=dict.fromkeys(("boundary", "hopskipjump", "geoda"), 120),
    shard_images=6,
    gradient_images=8,
    boundary_images=4,
    smoothing=(0.01,),
    smoothing_samples=2,
    binding_images=4,
    collusion_images=4,
    colluders=2,
    timing_repeats=1,
)


@pytest.fixture(scope="module")
def original():
    return small_classifier()


@pytest.fixture(scope="module")
def pool(original):
    images = torch.rand((60, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    return {"images": images.numpy(), "labels": original.predict(images).numpy()}


def write_attack(original, pool, out):
    attack = SingleAttack(
        command="test",
        target_name="small",
        target_digest="none",
        attack=HopSkipJump(),
        images=3,
        queries=100,
        targeted=False,
        seed=0,
    )
    data = LabelledImages(**pool, class_names=tuple(map(str, range(10))), name="noise")
    return attack.run(original, data, out=out)


def write_replication(original, pool, out):
    spec = AuditSpec(**NAMES, rewriters=(PermutationSpec(),), copies=2, images=4, queries=100)
    return audit_replicate(spec, original=original, independent=(), out=out, **pool)


def write_calibration(original, pool, out):
    sure = small_classifier()
    sure.module[3].weight.data *= 8.0
    sure = Classifier(sure.module, input_shape=(1, 8, 8), labels=10)
    record = calibrate_spec(
        sure, pool["images"], rewriter="permutation", max_change=0.2, attack_images=4, attack_queries=80
    ).record
    write_record(out / "record.json", record)
    return record


def write_cross_check(original, pool, out):
    pytest.importorskip("art")
    spec = CrossCheck(
        target_name="a",
        target_digest="none",
        victim_names=("b",),
        data_name="noise",
        split="test",
        libraries=("art",),
        attacks=("hsj",),
        images=2,
        queries=100,
    )
    return cross_check(spec, target=original, victims=[original], out=out, **pool)


def write_collusion(original, pool, out):
    spec = CollusionSpec(
        **NAMES,
        rewriters={"p": PermutationSpec(alpha=0.3)},
        colluders=(1, 2),
        victims=1,
        images=4,
        attack=DeepFool(iterations=3),
    )
    return audit_collude(spec, original=original, independent=(), out=out, **pool)


WRITERS = {
    "attack": write_attack,
    "replication": write_replication,
    "calibration": write_calibration,
    "cross_check": write_cross_check,
    "collusion": write_collusion,
}


def through_every_view(record, path):
    """Check that the file holds the record, and that the view of its kind prints the same of both."""
    read = load_record(path)
    assert read.to_dict() == record.to_dict() == json.loads(path.read_text(encoding="utf-8"))
    assert render_text(read) == render_text(record)
    assert render_html(read).startswith("<!DOCTYPE html>")
    for drawing in draw_all(read):
        assert drawing.alt
        assert all(math.isfinite(size) for size in np.asarray(drawing.figure.get_size_inches()))


def test_every_kind_has_a_writer_and_a_view():
    assert WRITERS.keys() == KINDS.keys()
    assert VIEWS.keys() == {*KINDS, "reproduction"}


@pytest.mark.parametrize("kind", WRITERS)
def test_writer_file_reader_view(kind, original, pool, tmp_path):
    record = WRITERS[kind](original, pool, tmp_path)
    assert record.kind == kind
    through_every_view(record, tmp_path / "record.json")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_reproduction(name, tiny_source, tmp_path):  # noqa: F811 (the fixture)
    record = reproduce(EXPERIMENTS[name], [tiny_source], TINY, out=tmp_path, command="test")
    assert record.experiment == name
    through_every_view(record, tmp_path / f"{name}.json")
