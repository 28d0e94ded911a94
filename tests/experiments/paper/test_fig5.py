"""Figure 5 of a tiny study: which curves there are, how far they go, and that counts add up."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file

from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.evaluation.shards import ShardFolder
from variegate.experiments.paper.fig5 import VARIANTS, CollusionShard, collect, tasks
from variegate.experiments.paper.paper import EFFORTS
from variegate.experiments.paper.study import CopyOf, StudySource
from variegate.models.architectures.catalog import build_architecture
from variegate.models.loading import prepare_import
from variegate.rewriters.qim import QimSpec

EFFORT = replace(EFFORTS["smoke"], collusion_images=2, colluders=2, queries={"hopskipjump": 40})


@pytest.fixture
def qim_source(tiny_source: StudySource) -> StudySource:
    spec = QimSpec(messages_per_class=4, quantization_step=0.5, strength=0.3)  # mild: DeepFool ends soon
    return replace(tiny_source, specs={"qim": spec.to_dict()})


def test_settings_reach_as_far_as_there_are_originals(tiny_source: StudySource, qim_source: StudySource) -> None:
    names = {task.name for task in tasks(tiny_source, EFFORT)}
    assert {name.split("-")[2] for name in names} == {"1", "2", "3"}
    assert "tiny-collude-1-mean-r2-0" in names
    assert "tiny-collude-2-stripped-r2-0" in names
    assert "tiny-collude-3-permutation-stripped-0" in names  # one attack for every r
    assert not any("1-stripped" in name for name in names)
    assert not any("-1-mean-r3-" in task.name for task in tasks(qim_source, replace(EFFORT, colluders=8)))
    one = replace(qim_source, originals=qim_source.originals[:1])
    assert {task.name.split("-")[2] for task in tasks(one, EFFORT)} == {"3"}
    votes = {task.name.split("-")[5] for task in tasks(one, replace(EFFORT, colluders=7)) if "vote" in task.name}
    assert votes == {"r1", "r3", "r5", "r7"}


def test_a_shard_is_bound_to_what_decides_it(qim_source: StudySource) -> None:
    first = next(task for task in tasks(qim_source, EFFORT) if "-3-qim-mean-r2-" in task.name)
    assert isinstance(first, CollusionShard)
    assert first.attacked == (CopyOf(0, "qim", 0), CopyOf(0, "qim", 1))
    assert first.make() == DeepFool(semantics="art", scores="probabilities")
    assert replace(first, variant="log").make() == DeepFool()
    assert replace(first, queries=61).identity == first.identity  # a white-box attack has no budget
    assert replace(first, variant="vote", queries=61).identity != replace(first, variant="vote").identity
    two = replace(first, attacked=(CopyOf(0, "qim", 0), CopyOf(1, "qim", 0)))
    assert two.cost > 1.5 * first.cost  # two forward passes for one
    json.dumps(first.identity)


def test_the_figure(qim_source: StudySource, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = {"vote": HopSkipJump()}
    monkeypatch.setattr(CollusionShard, "make", lambda shard: quick.get(shard.variant, DeepFool(iterations=4)))
    shards = ShardFolder(tmp_path / "shards")
    shards.run(tasks(qim_source, EFFORT))
    figure = collect(qim_source, EFFORT, shards).to_dict()
    json.dumps(figure, allow_nan=False)
    assert figure["originals"] == 3
    assert [(each["setting"], each["rewriter"], each["largest"]) for each in figure["settings"]] == [
        (1, None, 2),
        (2, "qim", 2),
        (3, "qim", 2),
    ]
    assert {"B1", "C1", "B2", "C2", "B1-log", "C2-vote", "B2-stripped", "B3-qim", "C3-qim-stripped_log"} <= set(
        figure["curves"]
    )
    assert figure["curves"]["B3-qim"]["r"] == [1, 2]
    last = figure["settings"][2]
    assert len(last["copies"]) == 7
    assert {point["variant"] for point in last["points"]} == set(VARIANTS)
    for setting in figure["settings"]:
        for point in setting["points"]:
            assert point["kept"]["k"] == point["kept_outputs"]["outputs"] <= point["attempted"]
            victims = {1: 3 - point["r"], 2: 3 - point["r"], 3: 5}[setting["setting"]]
            assert point["all_outputs"]["replication_rate"]["n"] == victims * point["attempted"]
        for control in setting["identical"]:
            assert control["asked_again"] == control["kept_outputs"]["replication_rate"]
            assert control["asked_again"]["k"] == control["asked_again"]["n"] == control["kept"]["k"]
            assert control["rounded"]["n"] == control["kept"]["k"]
        assert [control["variant"] for control in setting["identical"]] == ["mean", "log", "vote"]


def test_deepfool_considers_all_classes_of_a_study(qim_source: StudySource, tmp_path: Path) -> None:
    """What that is good for is tested in test_collusion_settings."""
    weights = tmp_path / "weights.safetensors"
    save_file(build_architecture("digits_cnn", {"num_classes": 24, "in_channels": 1}, seed=0).state_dict(), weights)
    imported = prepare_import(weights, name="wide", architecture="digits_cnn", labels=24, input_shape=(1, 8, 8))
    first = next(task for task in tasks(qim_source, EFFORT) if "-3-qim-mean-r2-" in task.name)
    assert isinstance(first, CollusionShard)
    wide = replace(first, source=replace(qim_source, originals=((imported.manifest, tmp_path),)))
    assert wide.make() == DeepFool(semantics="art", scores="probabilities", candidates=24)
    assert replace(wide, variant="stripped").make() == wide.make()
    assert replace(wide, variant="log").make() == DeepFool(scores="log")
    assert wide.cost > 2 * first.cost
