"""What only a GPU shows: that everything is on one device. Every experiment, attack and rewriter is run there."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from variegate.attacks.catalog import ATTACKS, WHITE_BOX_ATTACKS, make_attack
from variegate.evaluation.collusion import Ensemble, MajorityVote, collude
from variegate.experiments.paper.paper import EFFORTS
from variegate.experiments.paper.run import EXPERIMENTS, reproduce
from variegate.experiments.paper.study import REWRITERS, CopyOf, Study, StudySource, load_study

TINY = replace(
    EFFORTS["smoke"],
    copies=2,
    attack_images=6,
    queries={"boundary": 150, "hopskipjump": 300, "geoda": 200},
    shard_images=2,
    gradient_images=20,
    boundary_images=6,
    binding_images=4,
    collusion_images=4,
    colluders=1,
    timing_repeats=2,
)
IMAGES = 8
SETTINGS = {
    "carlini_wagner": {"rounds": "3", "iterations": "60", "learning_rate": "0.02", "first_constant": "1"},
    "fgsm": {"epsilon": "0.3"},
    "pgd": {"epsilon": "0.3"},
}


@pytest.fixture
def studies(tiny_source: StudySource) -> tuple[Study, Study]:
    """The same study on the CPU and on the GPU."""
    return load_study(tiny_source), load_study(replace(tiny_source, device="cuda"))


@pytest.mark.gpu
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment(name: str, tiny_source: StudySource, tmp_path) -> None:
    record = reproduce(EXPERIMENTS[name], [replace(tiny_source, device="cuda")], TINY, out=tmp_path, jobs=1)
    assert record["studies"][0]["device"] == "cuda"
    assert record["made_by"][0]["gpu"] == torch.cuda.get_device_name()


@pytest.mark.gpu
@pytest.mark.parametrize("rewriter", [None, *REWRITERS])
def test_scores_are_those_of_the_cpu(rewriter: str | None, studies: tuple[Study, Study]) -> None:
    which = CopyOf(0, rewriter, 1 if rewriter else 0)
    here, there = (study.classifier(which).scores(study.images).cpu() for study in studies)
    torch.testing.assert_close(there, here, rtol=0, atol=2e-5)
    if rewriter is not None:
        banks = [study.bank(0, rewriter, 2).predict_all(study.images).cpu() for study in studies]
        assert float((banks[0] == banks[1]).float().mean()) > 0.98


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*ATTACKS, *WHITE_BOX_ATTACKS])
def test_attacks_come_as_near_as_on_the_cpu(name: str, studies: tuple[Study, Study]) -> None:
    """Their random numbers are others, and so are their results; not how good they are."""
    medians, successes = [], []
    for study in studies:
        copies = [study.classifier(CopyOf(0, "spread_spectrum", copy)) for copy in range(2)]
        rows = torch.tensor(study.order()[:IMAGES])
        target = Ensemble(copies) if name in WHITE_BOX_ATTACKS else MajorityVote(copies)
        attack = make_attack(name, SETTINGS.get(name, {}))
        queries = None if name in WHITE_BOX_ATTACKS else 500
        found = collude(target, attack, study.images[rows], study.labels[rows], seed=0, queries=queries)
        assert found.adversarials.device.type == "cpu"
        again = target.predict(found.adversarials).cpu() != study.labels[rows]
        assert (
            int(again[found.succeeded].sum()) >= int(found.succeeded.sum()) - 1
        )  # on the boundary: other batch, other bits
        medians.append(float(np.nanmedian(found.distances.numpy())))
        successes.append(int(found.succeeded.sum()))
    assert successes[1] >= successes[0] - 1
    assert 0.67 < medians[1] / medians[0] < 1.5
