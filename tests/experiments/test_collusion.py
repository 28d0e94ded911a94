"""What an audit of colluders refuses; the rest is tested through the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.errors import ConfigurationError, ConflictError, InputError
from variegate.experiments.collusion import audit_collude
from variegate.experiments.collusion_settings import CollusionSpec
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
    with pytest.raises(InputError, match="needs 9 images that the original and .* get right; the 8 given hold 8"):
        run(replace(SPEC, images=9))
    with pytest.raises(InputError, match="labels must be int64"):
        run(SPEC, truth=labels[:3])


def test_art_semantics_consider_all_classes(tmp_path):
    """Of 14 classes 10 are not all; then what is found would depend on the other images of a block."""
    images = np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32)
    original = small_classifier(num_classes=14)
    labels = original.predict(torch.from_numpy(images)).numpy()
    spec = replace(SPEC, images=4, victims=1)
    record = audit_collude(spec, original=original, independent=(), images=images, labels=labels, out=tmp_path / "a")
    assert record.attack.parameters["candidates"] == 14


def test_a_resume_with_other_settings_is_refused(tmp_path):
    images = np.random.default_rng(0).random((12, 1, 8, 8), dtype=np.float32)
    original, out = small_classifier(), tmp_path / "a"
    labels = original.predict(torch.from_numpy(images)).numpy()
    spec = replace(SPEC, images=4, victims=1, attack=DeepFool(iterations=3))

    def run(spec):
        return audit_collude(spec, original=original, independent=(), images=images, labels=labels, out=out)

    run(spec)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for changes, what in (
        ({"images": 5}, "data"),
        ({"colluders": (1, 2)}, "colluders"),
        ({"attack": DeepFool(iterations=4)}, "attack"),
        ({"rewriters": {"p": PermutationSpec(alpha=0.4)}}, "specs"),
    ):
        with pytest.raises(ConflictError, match=rf"finished audit with other settings \(.*{what}.*another folder"):
            run(replace(spec, **changes))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run(spec).data.images == 4
    (out / "record.json").unlink()  # interrupted
    (point,) = (each for each in run(replace(spec, images=5)).settings[0].points if each.variant == "mean")
    assert point.attempted == 5  # nothing of the first audit
    (out / "record.json").write_text(json.dumps({"kind": "attack"}))
    with pytest.raises(ConflictError, match="the record of something else than an audit of collusion; give another"):
        run(spec)
    assert json.loads((out / "record.json").read_text()) == {"kind": "attack"}
