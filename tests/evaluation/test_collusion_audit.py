"""What an audit of colluders refuses; the rest is tested through the command line."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from variegate.attacks.hopskipjump import HopSkipJump
from variegate.errors import ConfigurationError, InputError
from variegate.evaluation.collusion_audit import audit_collude
from variegate.evaluation.collusion_settings import CollusionSpec
from variegate.rewriters.permutation import PermutationSpec
from variegate.testing.seller import small_classifier

SPEC = CollusionSpec(
    model_name="net", data_name="noise", split="test", rewriters={"p": PermutationSpec(alpha=0.3)}, colluders=(1,)
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colluders": ()}, "numbers of colluders of at least 1; got none"),
        ({"colluders": (2, 0)}, "numbers of colluders of at least 1; got 2, 0"),
        ({"victims": 0}, "victims, images and queries must be at least 1; got 0, 50 and 1000"),
        ({"seed": -1}, "the seed must be from 0"),
        ({"ensemble": "sum"}, "the ensemble must be mean, log, vote; got 'sum'"),
        ({"ensemble": "vote"}, "deepfool sees scores and gradients, which a majority vote has not"),
        ({"attack": HopSkipJump()}, "hopskipjump sees labels alone: use the vote"),
    ],
    ids=str,
)
def test_bad_specs(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        replace(SPEC, **changes)


def test_bad_classifiers_and_images(tmp_path):
    images = np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32)
    original = small_classifier()
    labels = original.predict(torch.from_numpy(images)).numpy()

    def run(spec, independent=(), truth=labels):
        return audit_collude(
            spec, original=original, independent=independent, images=images, labels=truth, out=tmp_path / "a"
        )

    with pytest.raises(ConfigurationError, match="expected a rewriter or an independent training"):
        run(replace(SPEC, rewriters={}, images=4))
    with pytest.raises(ConfigurationError, match="must take the same inputs and classes"):
        run(replace(SPEC, images=4), [small_classifier(num_classes=4, seed=1)])
    with pytest.raises(InputError, match="needs 9 images that all originals get right; the 8 given hold 8"):
        run(replace(SPEC, images=9))
    with pytest.raises(InputError, match="labels must be int64"):
        run(SPEC, truth=labels[:3])
