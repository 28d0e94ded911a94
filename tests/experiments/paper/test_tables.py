"""Tables 1, 2 and 3 from shards of a tiny study, against counts made in another way."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from variegate.errors import InputError
from variegate.evaluation.shards import ShardFolder
from variegate.experiments.paper import table1, table2, table3
from variegate.experiments.paper.paper import EFFORTS, Effort
from variegate.experiments.paper.shards import AttackShard
from variegate.experiments.paper.study import CopyOf, StudySource, load_study

TINY = replace(
    EFFORTS["smoke"],
    copies=2,
    accuracy_images=None,
    attack_images=6,
    queries={"boundary": 60, "hopskipjump": 60, "geoda": 60},
    shard_images=2,
    timing_repeats=2,
)


def test_table1_counts(tiny_source: StudySource, tmp_path) -> None:
    shards = ShardFolder(tmp_path)
    shards.run(table1.tasks(tiny_source, TINY))
    found = table1.collect(tiny_source, TINY, shards).to_dict()
    study = load_study(tiny_source)
    for which in (CopyOf(0), CopyOf(2), CopyOf(1, "qim", 1), CopyOf(0, "permutation", 0)):
        right = int((study.classifier(which).predict(study.images) == study.labels).sum())
        entries = found["rows"][which.rewriter or "original"]["classifiers"]
        entry = next(e for e in entries if e["original"] == which.original and e.get("copy", 0) == which.copy)
        assert (entry["k"], entry["n"]) == (right, 60)
    row = found["rows"]["qim"]
    first = [e["rate"] for e in row["classifiers"] if e["original"] == 0]
    assert row["of_first"] == {"mean": np.mean(first), "sd": np.std(first, ddof=1), "classifiers": 2}
    assert found["images"] == 60


@pytest.fixture
def table2_run(tiny_source: StudySource, tmp_path) -> tuple[StudySource, Effort, ShardFolder]:
    shards = ShardFolder(tmp_path)
    shards.run(table2.tasks(tiny_source, TINY))
    shards.run(table2.replays(tiny_source, TINY, shards))
    return tiny_source, TINY, shards


def test_table2_counts_every_pair_once(table2_run) -> None:
    source, effort, shards = table2_run
    found = table2.collect(source, effort, shards).to_dict()
    study = load_study(source)
    made = [task for task in table2.tasks(source, effort) if isinstance(task, AttackShard)]
    for attack in ("hopskipjump", "geoda"):
        for rewriter in (None, "permutation"):
            k = {"rewriting": 0, "training": 0}
            n = {"rewriting": 0, "training": 0}
            for shard in made:
                if shard.attack != attack or shard.attacker.rewriter != rewriter:
                    continue
                arrays = shards.require(shard)
                for image, x, hit in zip(shard.images, arrays["adversarials"], arrays["succeeded"], strict=True):
                    for original in range(3):
                        for copy in range(effort.copies if rewriter else 1):
                            victim = CopyOf(original, rewriter, copy)
                            if not hit or victim == shard.attacker:
                                continue
                            kind = "rewriting" if original == shard.attacker.original else "training"
                            label = int(study.classifier(victim).predict(torch.from_numpy(x[None]))[0])
                            n[kind] += 1
                            k[kind] += label != int(study.labels[image])
            group = found["attacks"][attack]["groups"][rewriter or "independent"]
            assert (group["training"]["k"], group["training"]["n"]) == (k["training"], n["training"])
            assert n["training"] > 0
            if rewriter:
                assert (group["rewriting"]["k"], group["rewriting"]["n"]) == (k["rewriting"], n["rewriting"])
            else:
                assert "rewriting" not in group  # an original has no other copy
            assert group["success"]["n"] == effort.attack_images
            assert group["identical"]["at"][0]["rate"]["rate"] == 1.0  # the own copy is fooled again


def test_attacked_images_are_right_and_dealt_once(table2_run) -> None:
    source, effort, _ = table2_run
    study = load_study(source)
    made = [t for t in table2.tasks(source, effort) if isinstance(t, AttackShard) and t.attack == "geoda"]
    for rewriter in (None, "qim"):
        mine = [shard for shard in made if shard.attacker.rewriter == rewriter]
        images = [image for shard in mine for image in shard.images]
        assert len(images) == len(set(images)) == effort.attack_images
        for shard in mine:
            rows = torch.tensor(shard.images)
            assert torch.equal(study.classifier(shard.attacker).predict(study.images[rows]), study.labels[rows])


def test_too_few_right_images_are_one_sentence(tiny_source: StudySource) -> None:
    with pytest.raises(InputError, match="must classify 1000 of its 60 images correctly"):
        table2.tasks(tiny_source, replace(TINY, attack_images=1000, deal=False))


def test_table3_times_everything(tiny_source: StudySource, tmp_path) -> None:
    shards = ShardFolder(tmp_path)
    shards.run(table3.tasks(tiny_source, TINY))
    rows = table3.collect(tiny_source, TINY, shards).to_dict()["rows"]
    assert set(rows) == {"original", "independent", "permutation", "spread_spectrum", "qim"}
    assert rows["original"]["inference_ms"]["1"] > 0
    assert rows["independent"]["training_seconds"] > 0
    assert 100 <= rows["qim"]["storage_bytes"] <= 400
    assert rows["qim"]["message_bytes"] >= 10 * 4 * 64 * 4 > rows["permutation"]["message_bytes"]
