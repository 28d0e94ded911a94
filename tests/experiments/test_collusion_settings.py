"""How colluders attack: all classes as candidates where ART's semantics would take them from the block."""

import numpy as np
import pytest
import torch

from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.evaluation.collusion_rates import attack_block
from variegate.experiments.collusion_settings import CollusionSpec, with_all_classes
from variegate.testing.seller import small_classifier

ART = DeepFool(semantics="art", scores="probabilities")


@pytest.mark.parametrize("scores", ["probabilities", "log"])
def test_where_images_are_cut_into_blocks_changes_nothing(scores):
    original = small_classifier(num_classes=24)
    x = torch.rand((8, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    labels = original.predict(x)
    names = ("attempted", "succeeded", "distances", "backward_rows")

    def changed(attack):
        def run(rows):
            return attack_block(
                [original],
                attack,
                x[rows],
                labels[rows],
                copies=[original],
                colluders=(0,),
                vote=False,
                seed=0,
                identities=range(8)[rows],
            )

        whole, halves = run(slice(8)), [run(slice(4)), run(slice(4, 8))]
        assert whole["succeeded"].any()
        joined = {name: np.concatenate([half[name] for half in halves], -1) for name in names}
        # products of other shapes may be rounded otherwise
        return [name for name in names if not np.allclose(whole[name], joined[name], rtol=1e-3, equal_nan=True)]

    art = DeepFool(semantics="art", scores=scores)
    assert changed(with_all_classes(art, 24)) == []
    assert "distances" in changed(art)  # the union of the best 10 labels is another one for each block


def test_all_classes():
    assert with_all_classes(ART, 43) == DeepFool(semantics="art", scores="probabilities", candidates=43)
    assert with_all_classes(ART, 10) is ART
    assert with_all_classes(ART, 3) is ART
    assert with_all_classes(DeepFool(), 43) == DeepFool()  # the paper's candidates are each input's own
    assert with_all_classes(HopSkipJump(semantics="art"), 43) == HopSkipJump(semantics="art")
    default = CollusionSpec(model_name="", data_name="", split="", rewriters={}, colluders=(1,))
    assert default.attack == ART
