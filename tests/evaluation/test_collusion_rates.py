"""Who colludes and who is the victim, and the counts, on labels written by hand."""

import numpy as np
import pytest
import torch

from variegate.attacks.white_box.deepfool import DeepFool
from variegate.errors import ConfigurationError
from variegate.evaluation.collusion import Ensemble, Panel, collude
from variegate.evaluation.collusion_rates import SCALES, Part, attack_block, control, line_up, measure
from variegate.evaluation.subjects import experiment_heads
from variegate.models.bank import CopyBank
from variegate.rewriters.base import RewrittenCopy
from variegate.rewriters.qim import QimSpec
from variegate.testing.seller import small_classifier


def measured(parts):
    return measure(parts, variant="mean", r=1).to_dict()


def controlled(parts):
    return control(parts, variant="mean", r=1).to_dict()


def block(**changes):
    """Five inputs of class 0, three copies: input 0 is outside A, input 1 failed, 2 fools the ensemble alone."""
    clean = np.zeros((3, 5), np.int16)
    clean[2, 4] = 1  # the victim is wrong on the clean input 4
    at = np.zeros((len(SCALES), 3, 5), np.int16)
    at[:, 0, 3:] = 1
    at[:, 2, 3:] = 2
    at[:2, 2, 3] = 0  # input 3 fools the victim from s = 1.5 on
    arrays = {
        "truth": np.zeros(5, np.int64),
        "attempted": np.array([False, True, True, True, True]),
        "succeeded": np.array([False, False, True, True, True]),
        "distances": np.array([np.nan, np.nan, 1.0, 2.0, 5.0], np.float32),
        "forward_rows": np.array([0, 9, 3, 3, 3]),
        "backward_rows": np.array([0, 9, 3, 3, 3]),
        "clean": clean,
        "at": at,
        "noise": np.zeros((3, 5), np.int16),
        "attack_seconds": np.array(0.5),
    }
    return arrays | changes


def counts(rate):
    return rate["k"], rate["n"]


def test_line_up():
    assert line_up(3, 1) == ((0,), (1, 2))
    assert line_up(3, 2, block=1, blocks=3) == ((1, 2), (0,))
    assert line_up(3, 2, block=7, blocks=4) == ((1, 2), (0,))
    victims = {line_up(13, r, block=2, blocks=4)[1] for r in range(1, 9)}
    assert victims == {(1, 2, 3, 4, 5)}
    assert line_up(13, 8, block=2, blocks=4)[0] == (6, 7, 8, 9, 10, 11, 12, 0)
    assert line_up(10, 8) == (tuple(range(8)), (8, 9))
    assert line_up(10, 8, victims=1)[1] == (9,)
    with pytest.raises(ConfigurationError, match="3 colluders need at least 4 copies, one of them the victim's; got 3"):
        line_up(3, 3)
    with pytest.raises(ConfigurationError, match="at least 1 colluder; got 0"):
        line_up(3, 0)


def test_counts():
    found = measured([Part(arrays=block(), colluders=(0,), victims=(2,))])
    assert found["attempted"] == 4
    assert counts(found["attack_success_rate"]) == (3, 4)
    assert counts(found["kept"]) == (2, 4)
    assert counts(found["kept_of_successes"]) == (2, 3)
    every, kept = found["all_outputs"], found["kept_outputs"]
    assert (every["outputs"], kept["outputs"]) == (4, 2)
    assert (every["median_norm"], kept["median_norm"]) == (2.0, 3.5)
    assert counts(every["replication_rate"]) == (1, 4)
    assert counts(every["replication_rate_conditioned"]) == (0, 3)
    assert counts(kept["replication_rate"]) == (1, 2)
    assert counts(kept["replication_rate_conditioned"]) == (0, 1)
    assert [counts(one["rate"]) for one in kept["replication_at"]] == [(1, 2), (1, 2), (2, 2), (2, 2)]
    assert counts(kept["noise"]) == (0, 2)
    assert found["validated_outputs"]["outputs"] == 2
    assert (found["forward_rows"], found["backward_rows"], found["attack_seconds"]) == (18, 18, 0.5)


def test_every_colluder_must_be_right_when_clean_and_fooled_after():
    both = measured([Part(arrays=block(), colluders=(0, 1), victims=(2,))])
    assert both["attempted"] == 4
    assert counts(both["kept"]) == (0, 4)  # copy 1 is never fooled
    assert both["kept_outputs"]["replication_rate"]["rate"] is None
    assert both["kept_outputs"]["median_norm"] is None
    wrong = measured([Part(arrays=block(), colluders=(2,), victims=(0,))])
    assert wrong["attempted"] == 3  # copy 2 is wrong on the clean input 4


def test_validated_outputs_go_to_the_smallest_scale_that_fools_every_colluder():
    at = np.zeros((len(SCALES), 3, 5), np.int16)
    at[1:, 0, 2] = at[2:, 1, 2] = 1  # both from s = 1.5 on
    at[1, 2, 2] = 3  # the victim at s = 1.1 only
    at[3, :2, 3] = at[3, 2, 3] = 1  # all at s = 2
    at[:, 0, 4] = 1  # never copy 1
    found = measured([Part(arrays=block(at=at), colluders=(0, 1), victims=(2,))])["validated_outputs"]
    assert found["outputs"] == 2
    assert counts(found["replication_rate"]) == (1, 2)
    assert found["median_norm"] == (1.0 * 1.5 + 2.0 * 2.0) / 2


def test_blocks_with_other_coalitions_are_counted_together():
    parts = [
        Part(arrays=block(), colluders=(0,), victims=(2,)),
        Part(arrays=block(), colluders=(2,), victims=(0, 1)),
        Part(arrays=block(), colluders=(0,), victims=(2,)),
    ]
    found = measured(parts)
    assert found["attempted"] == 4 + 3 + 4
    assert counts(found["all_outputs"]["replication_rate"]) == (1 + 1 + 1, 4 + 2 * 3 + 4)
    with pytest.raises(ConfigurationError, match="at least one block"):
        measured([])


def test_a_block():
    original = small_classifier()
    heads = experiment_heads(original, QimSpec(messages_per_class=4, quantization_step=0.2), copies=4, seed=0)
    copies = [RewrittenCopy(original, head) for head in heads]
    x = torch.rand((20, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    labels = original.predict(x)
    order = range(20)
    whole = attack_block(
        copies[:2], DeepFool(), x, labels, copies=copies, colluders=(0, 1), vote=False, seed=0, identities=order
    )
    assert whole["at"].shape == (len(SCALES), 4, 20)
    assert whole["at"].dtype == whole["noise"].dtype == np.int16
    assert np.array_equal(whole["clean"].T, np.stack([copy.predict(x) for copy in copies], 1))
    moved = whole["succeeded"]
    assert moved.any()
    still = whole["at"][0][:, ~moved] == whole["clean"][:, ~moved]
    assert still.all()  # without success the clean input is shown
    step = collude(Ensemble(copies[:2]), DeepFool(), x, labels, seed=0).adversarials - x
    further = Panel(copies).predict_all((x + SCALES[2] * step).clamp(0.0, 1.0)).T.numpy()
    assert np.array_equal(whole["at"][2], further)
    assert not np.array_equal(whole["at"][0], further)
    point = measured([Part(arrays=whole, colluders=(0, 1), victims=(2, 3))])
    assert point["all_outputs"]["replication_rate"]["n"] == 2 * point["attempted"]
    # Halves in another order give the same labels: random directions belong to images.
    half = attack_block(
        copies[:2],
        DeepFool(),
        x[10:],
        labels[10:],
        copies=copies,
        colluders=(0, 1),
        vote=False,
        seed=0,
        identities=order[10:],
    )
    assert np.mean(half["noise"] == whole["noise"][:, 10:]) > 0.95
    assert np.array_equal(half["attempted"], whole["attempted"][10:])


def alone(overshoot):
    """One colluder's block, of a small network and its copy."""
    original = small_classifier()
    heads = experiment_heads(original, QimSpec(messages_per_class=4, quantization_step=0.2), copies=2, seed=0)
    copies = [RewrittenCopy(original, head) for head in heads]
    x = torch.rand((20, 1, 8, 8), generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    return attack_block(
        copies[:1],
        DeepFool(overshoot=overshoot),
        x,
        copies[0].predict(x),
        copies=copies,
        colluders=(0,),
        vote=False,
        seed=0,
        identities=range(20),
    )


def test_the_control_asks_the_own_copy_again():
    part = Part(arrays=alone(1e-5), colluders=(0,), victims=(1,))
    found, plain = controlled([part]), measured([part])
    assert found["kept"] == plain["kept"]
    assert counts(found["asked_again"]) == (found["kept"]["k"],) * 2
    assert found["asked_again"] == found["kept_outputs"]["replication_rate"]
    # Hardly past the boundary, rounding takes outputs back; well past it, fewer of them.
    assert counts(found["rounded"])[1] == found["kept"]["k"] > counts(found["rounded"])[0]
    far = controlled([Part(arrays=alone(0.5), colluders=(0,), victims=(1,))])
    assert far["asked_again"]["rate"] == 1.0
    assert far["rounded"]["rate"] > found["rounded"]["rate"]
    # Rows asked again belong to the inputs and copies that they were asked for.
    assert np.array_equal(part.arrays["again"], part.arrays["at"])


def test_the_control_fails_where_an_answer_depends_on_the_batch(monkeypatch):
    predict_all = CopyBank.predict_all

    def unsteady(bank, x):
        labels = predict_all(bank, x)
        return labels if len(x) > 10 else labels.roll(1, 0)

    monkeypatch.setattr(CopyBank, "predict_all", unsteady)
    found = controlled([Part(arrays=alone(0.02), colluders=(0,), victims=(1,))])
    assert found["kept"]["k"] > 0
    assert found["asked_again"]["rate"] < 1.0


def test_the_control_counts_labels_asked_again():
    arrays = block()
    again, rounded = arrays["at"].copy(), arrays["at"].copy()
    again[0, 0, 3] = rounded[0, 0, 3:] = 0  # of the two kept outputs, one and none
    found = controlled([Part(arrays=arrays | {"again": again, "rounded": rounded}, colluders=(0,), victims=(2,))])
    assert counts(found["kept"]) == (2, 4)
    assert counts(found["asked_again"]) == (1, 2)
    assert counts(found["rounded"]) == (0, 2)
