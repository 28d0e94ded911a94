"""Figure 4 of a tiny study: counts and roles of what GeoDA changes; no permutation in the record."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from variegate.errors import InputError
from variegate.evaluation.shards import ShardFolder
from variegate.experiments.paper import fig4
from variegate.experiments.paper.fig4 import MEASURES, added_partners
from variegate.experiments.paper.paper import effort_of
from variegate.experiments.paper.study import CopyOf, StudySource, load_study

EFFORT = replace(effort_of("smoke"), binding_images=6, shard_images=4, queries={"geoda": 150})


@pytest.fixture
def right_source(tiny_source: StudySource, monkeypatch) -> StudySource:
    """The tiny study, with the first original's labels for true ones: its networks are not trained."""
    source = replace(tiny_source, name="right", test_limit=20)
    study = load_study(source)
    monkeypatch.setattr(study, "labels", study.originals[0].predict(study.images))
    return source


def test_figure_4(right_source: StudySource, tmp_path) -> None:
    tasks = fig4.tasks(right_source, EFFORT)
    study, copy = load_study(right_source), CopyOf(0, "permutation", 0)
    assert [len(task.attack.images) for task in tasks[:2]] == [4, 2]
    for task in tasks:
        rows = torch.tensor(task.attack.images)
        assert torch.equal(study.classifier(task.attack.attacker).predict(study.images[rows]), study.labels[rows])
    assert tasks[0].cost == 4 * 154
    folder = ShardFolder(tmp_path)
    folder.run(tasks)
    result = fig4.collect(right_source, EFFORT, folder).to_dict()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    counts = result["attacks"]["permutation"]
    assert counts["attempted"] == counts["images"]
    assert 0 < counts["succeeded"] <= counts["attempted"]
    hits = result["attacks"]["original"]["succeeded"]
    for measure in MEASURES:
        panel = result["measures"][measure]
        f1, f2 = panel["original"]["F1"], panel["original"]["F2"]
        assert (f1["n"], f2["n"], f2["images"]) == (hits, 9 * hits, hits)
        assert f1["mean"] < 0 or measure == "logits"
        bound = panel["permutation"]
        for reading in fig4.READINGS:
            part = bound[reading]
            assert part["G2"]["n"] == part["G2_minus_G1"]["n"] == bound["G1"]["n"] == counts["succeeded"]
            assert part["G3"]["n"] == 8 * counts["succeeded"]
            difference = part["G2"]["mean"] - bound["G1"]["mean"]
            assert part["G2_minus_G1"]["mean"] == pytest.approx(difference, rel=1e-3, abs=1e-4)
            assert part["G2"]["grid"] == f2["grid"]
    scores = result["measures"]["scores"]
    assert scores["original"]["F1"]["mean"] + 9 * scores["original"]["F2"]["mean"] == pytest.approx(0.0, abs=1e-4)
    assert scores["permutation"]["G1"]["share_negative"] > 0.5
    partners = added_partners(study.head(copy)).tolist()
    assert str(partners)[1:-1] not in json.dumps(result)


def test_changes_are_those_of_the_attacks_adversarials(right_source: StudySource) -> None:
    task = fig4.tasks(right_source, EFFORT)[-1]
    assert task.attack.attacker == CopyOf(0, "permutation", 0)
    arrays, attack, study = task.run(), task.attack.run(), load_study(right_source)
    rows = torch.from_numpy(attack["images"])
    labels, partners = study.labels[rows], added_partners(study.head(task.attack.attacker))
    change = study.originals[0].logits(torch.from_numpy(attack["adversarials"])) - study.originals[0].logits(
        study.images[rows]
    )
    places = torch.arange(len(rows))
    np.testing.assert_allclose(arrays["logits-victim"], change[places, labels], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(arrays["logits-added-partner"], change[places, partners[labels]], rtol=1e-4, atol=1e-4)
    assert not any("images" in name or "partners" in name for name in arrays)


def test_failed_attacks_do_not_count(right_source: StudySource, tmp_path) -> None:
    effort = replace(EFFORT, queries={"geoda": 1})  # enough for nothing
    folder = ShardFolder(tmp_path)
    folder.run(fig4.tasks(right_source, effort))
    result = fig4.collect(right_source, effort, folder).to_dict()
    assert result["attacks"]["original"]["succeeded"] == 0
    assert result["attacks"]["original"]["distance_median"] is None
    panel = result["measures"]["scores"]
    assert panel["original"]["F2"]["n"] == 0
    assert panel["permutation"]["added"]["G2_minus_G1"] == {"n": 0, "mean": None, "low": None, "high": None}
    json.dumps(result, allow_nan=False)


def test_without_the_rewriter_or_a_right_image(right_source: StudySource, monkeypatch) -> None:
    bare = replace(right_source, specs={})
    study = load_study(bare)
    monkeypatch.setattr(study, "labels", study.originals[0].predict(study.images))
    assert {str(task.attack.attacker) for task in fig4.tasks(bare, EFFORT)} == {"o0"}
    monkeypatch.setattr(study, "labels", (study.labels + 1) % 10)
    with pytest.raises(InputError, match="o0 must classify an image correctly"):
        fig4.tasks(bare, EFFORT)
