"""Figure 3 of a tiny study: the pairs that the paper names, what is left out, and the same from any cut."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from variegate.errors import ConfigurationError
from variegate.evaluation.gradients import Smoothing, compare_gradients
from variegate.evaluation.shards import ShardFolder
from variegate.experiments.paper import fig3
from variegate.experiments.paper.paper import effort_of
from variegate.experiments.paper.study import CopyOf, StudySource, load_study
from variegate.rewriters.qim import QimSpec

EFFORT = replace(effort_of("smoke"), gradient_images=14, boundary_images=8, smoothing=(0.02, 0.1), smoothing_samples=2)


def test_figure_3(tiny_source: StudySource, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fig3, "_SHARD", 6)
    tasks = fig3.tasks(tiny_source, EFFORT)
    assert len(tasks) == 3 + 2 + 2 * 2
    clean = sum(task.cost for task in tasks if task.place == "clean")
    assert clean == 14 * (2 + 2 * 11)
    folder = ShardFolder(tmp_path)
    folder.run(tasks)
    result = fig3.collect(tiny_source, EFFORT, folder).to_dict()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    places = {(one["place"], one["sigma"]): one for one in result["places"]}
    assert list(places) == [("clean", 0.0), ("boundary", 0.0), ("smoothed", 0.02), ("smoothed", 0.1)]
    study = load_study(tiny_source)
    rows = torch.tensor(study.order()[:14])
    found = compare_gradients(
        [
            (study.originals[0], [study.head(CopyOf(0, "qim", 0)), study.head(CopyOf(0, "qim", 1))]),
            (study.originals[1], [study.head(CopyOf(1, "qim", 1))]),
        ],
        [(0, 3), (1, 2), (1, 4)],
        study.images[rows],
        study.labels[rows],
    )
    here = places["clean", 0.0]
    curves = (here["H1"], here["rewriters"]["qim"]["H2"], here["rewriters"]["qim"]["H3"])
    for curve, cosines in zip(curves, found.cosines.numpy(), strict=True):
        known = cosines[~np.isnan(cosines)]
        assert curve["n"] + curve["zero_gradients"] == 14
        assert curve["n"] == len(known)
        assert curve["mean"] == pytest.approx(known.mean(), abs=1e-4)
        assert curve["share_small"] == pytest.approx((np.abs(known) < 0.1).mean())
        assert len(curve["density"]) == curve["grid"]["points"] == 201
    assert here["norms"]["o1-qim-1"]["mean"] == pytest.approx(float(found.norms[4].mean()), rel=1e-3)
    assert sorted(here["rewriters"]) == ["permutation", "qim", "spread_spectrum"]


def test_only_right_images_have_a_boundary(tiny_source: StudySource, tmp_path) -> None:
    effort = replace(EFFORT, gradient_images=60, boundary_images=60, smoothing=())
    folder = ShardFolder(tmp_path)
    tasks = [task for task in fig3.tasks(tiny_source, effort) if task.place == "boundary"]
    folder.run(tasks)
    arrays = folder.require(tasks[0])
    study = load_study(tiny_source)
    order = torch.tensor(study.order())
    right = (study.originals[0].predict(study.images) == study.labels)[order].numpy()
    assert right.any()
    assert not (arrays["used"] & ~right).any()
    assert (arrays["used"] == right).mean() > 0.9
    assert np.isnan(arrays["cosines"][:, ~arrays["used"]]).all()
    assert (arrays["doubts"][0, arrays["used"]] > 0.4).all()  # phi is undecided; psi need not be


def test_without_a_rewriter_and_with_one_original(tiny_source: StudySource, tmp_path) -> None:
    effort = replace(EFFORT, boundary_images=0, gradient_images=5)
    bare = replace(tiny_source, specs={"qim": QimSpec().to_dict()})
    folder = ShardFolder(tmp_path)
    folder.run(fig3.tasks(bare, effort))
    result = fig3.collect(bare, effort, folder).to_dict()
    assert [list(one["rewriters"]) for one in result["places"]] == [["qim"]]  # clean only
    with pytest.raises(ConfigurationError, match="two originals"):
        fig3.tasks(replace(tiny_source, originals=tiny_source.originals[:1]), effort)


def test_a_shard_says_what_decides_it(tiny_source: StudySource) -> None:
    shard = fig3.CosineShard(source=tiny_source, images=(3, 4), place="smoothed", sigma=0.03, samples=2)
    assert shard.name == "tiny-cosine-smoothed-0.03-3"
    other_seed = replace(tiny_source, seed=3)
    study, rows = load_study(other_seed), torch.tensor([3, 4])
    expected = compare_gradients(
        [(study.originals[0], []), (study.originals[1], [])],
        [(0, 1)],
        study.images[rows],
        study.labels[rows],
        smoothing=Smoothing(sigma=0.03, samples=2, seed=3),
        identities=[3, 4],
    )
    arrays = replace(shard, source=other_seed).run()
    np.testing.assert_allclose(arrays["cosines"][0], expected.cosines[0], atol=1e-5)
    for other in (replace(shard, sigma=0.01), replace(shard, samples=3), replace(shard, images=(3, 5))):
        assert other.identity != shard.identity
