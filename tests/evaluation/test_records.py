"""What a record says of an attack, by hand; and the pictures beside it."""

import io
import json

import numpy as np
import pytest
import torch

from variegate.attacks.base import AttackResult, Trajectory
from variegate.evaluation.kept import collect_pictures
from variegate.evaluation.records import attack_record
from variegate.evaluation.replication import AttackerOutcome
from variegate.types import Norm, Status

NAN, INF = float("nan"), float("inf")


def result(**changes):
    values = {
        "adversarials": torch.full((5, 1, 2, 2), 0.75),
        "status": (
            Status.SUCCESS,
            Status.SUCCESS,
            Status.ALREADY_MISCLASSIFIED,
            Status.NO_STARTING_POINT,
            Status.NON_FINITE,
        ),
        "queries": torch.tensor([300, 200, 1, 100, 0]),
        "distances": torch.tensor([1.0, 3.0, NAN, NAN, NAN]),
        "trajectory": Trajectory(
            queries=torch.tensor([[90, 95, 1, 100, 0], [300, 200, 1, 100, 0]]),
            distances=torch.tensor([[4.0, 6.0, INF, INF, INF], [1.0, 3.0, INF, INF, INF]]),
        ),
        "norm": Norm.L2,
        "iterations": 2,
        "seconds": 1.0,
    }
    return AttackResult(**{**values, **changes})


def test_counts_leave_out_what_was_not_attempted():
    record = attack_record(result()).to_dict()
    assert (record["attempted"], record["succeeded"]) == (3, 2)
    assert record["status"] == {"success": 2, "already_misclassified": 1, "no_starting_point": 1, "non_finite": 1}
    assert record["queries"] == {"p10": 120.0, "median": 200.0, "p90": 280.0, "total": 601}
    assert record["distance"] == {"p10": 1.2, "p25": 1.5, "median": 2.0, "p75": 2.5, "p90": 2.8}
    assert record["distances"] == [1.0, 3.0]
    json.dumps(record, allow_nan=False)


def test_trajectory_is_of_the_attempted_inputs():
    """Two of five inputs were not attempted; counting them as infinite would leave no median at all."""
    record = attack_record(result()).to_dict()
    assert record["trajectory"] == {"queries": [100, 250], "median_distance": [6.0, 4.0]}  # of 4, 6, inf; of 4, 3, inf


def test_nothing_attempted():
    record = attack_record(
        result(
            status=(Status.NON_FINITE,) * 5,
            queries=torch.zeros(5, dtype=torch.int64),
            distances=torch.full((5,), NAN),
        )
    ).to_dict()
    assert (record["attempted"], record["succeeded"]) == (0, 0)
    assert record["distance"] == {"p10": None, "p25": None, "median": None, "p75": None, "p90": None}
    assert record["trajectory"] == {"queries": [], "median_distance": []}


def load(data):
    return dict(np.load(io.BytesIO(data), allow_pickle=False))


def outcome(count=5, value=0.75, succeeded=(0, 1)):
    """Return an attacker's outcome for `count` images, of which those numbered in `succeeded` have an adversarial."""
    found = torch.zeros(count, dtype=torch.bool)
    found[list(succeeded)] = True
    return AttackerOutcome(
        copy=0,
        adversarials=torch.full((count, 1, 2, 2), value),
        attempted=torch.ones(count, dtype=torch.bool),
        succeeded=found,
    )


def test_pictures():
    clean, labels = torch.full((5, 1, 2, 2), 0.5), torch.arange(5)
    pictures = load(
        collect_pictures(
            clean, labels, {"qim": outcome(), "other": outcome(succeeded=(3, 4))}, lambda x: torch.full((len(x),), 7)
        )
    )
    assert pictures["clean"].shape == pictures["adversarial"].shape == (4, 1, 2, 2)
    assert pictures["clean"].dtype == np.float32
    assert pictures["group"].tolist() == ["qim", "qim", "other", "other"]
    assert pictures["label"].tolist() == [0, 1, 3, 4]
    assert pictures["adversarial_label"].tolist() == [7] * 4
    assert float(pictures["adversarial"].max()) == 0.75


def test_pictures_are_few():
    many = outcome(9, 0.0, range(9))
    groups = {f"group {i}": many for i in range(11)}
    pictures = load(
        collect_pictures(
            torch.zeros(9, 1, 2, 2), torch.zeros(9, dtype=torch.int64), groups, lambda x: x[:, 0, 0, 0].long()
        )
    )
    assert len(pictures["clean"]) == 40
    assert pictures["group"].tolist().count("group 0") == 5


@pytest.mark.parametrize("examples", [{}, {"qim": outcome(succeeded=())}])
def test_no_pictures(examples):
    data = collect_pictures(torch.zeros(5, 1, 2, 2), torch.arange(5), examples, lambda x: torch.zeros(len(x)))
    assert load(data) == {}
