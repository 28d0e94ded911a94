"""The files of one attack."""

import numpy as np
import torch

from variegate.attacks.hopskipjump import HopSkipJump
from variegate.data.images import LabelledImages
from variegate.evaluation import adversarial_files
from variegate.evaluation.single_attack import SingleAttack
from variegate.types import Bounds


class Halves:
    num_classes = 2
    input_shape = (1, 1, 2)
    bounds = Bounds()

    def predict(self, x):
        return (x[:, 0, 0, 0] > 0.5).long()


def run(pool, out):
    attack = SingleAttack(
        command="test",
        target_name="halves",
        target_digest="none",
        attack=HopSkipJump(),
        images=3,
        queries=120,
        targeted=False,
        seed=1,
    )
    return attack.run(Halves(), pool, out=out)


def pool():
    images = np.array([[0.2, 0.5], [0.7, 0.1], [0.3, 0.3]], np.float32).reshape(3, 1, 1, 2)
    return LabelledImages(images=images, labels=np.array([0, 1, 0]), class_names=("low", "high"), name="points")


def test_arrays_hold_what_numpy_1_takes_too(tmp_path, monkeypatch):
    """NumPy 1.26 has no option `allow_pickle` here and would save it as an array."""
    torch.set_num_threads(1)
    given, save = [], np.savez_compressed

    def remember(file, **arrays):
        given.append(arrays)
        save(file, **arrays)

    monkeypatch.setattr(adversarial_files.np, "savez_compressed", remember)
    summary = run(pool(), tmp_path)
    assert summary["outcome"]["succeeded"] == 3
    assert all(isinstance(array, np.ndarray) for arrays in given for array in arrays.values())
    with np.load(tmp_path / "adversarials.npz", allow_pickle=False) as arrays:
        assert any(sorted(arrays.files) == sorted(names) for names in given)
        assert arrays["adversarial_label"].tolist() == [1, 0, 1]
