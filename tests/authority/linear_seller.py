"""A seller for tests: a linear classifier of scikit-learn's digits, solved in closed form, in the seller's own file."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from variegate.data import load_dataset
from variegate.models.loading import ImportedModel, prepare_import

DIGITS = [str(digit) for digit in range(10)]

CODE = """
from torch import nn

def build(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


@cache
def _solution(ridge: float) -> tuple[np.ndarray, np.ndarray]:
    train = load_dataset("digits", split="train")
    x = np.hstack([train.images.reshape(len(train), -1), np.ones((len(train), 1))]).astype(np.float64)
    y = np.eye(10)[train.labels] * 2 - 1
    solution = np.linalg.solve(x.T @ x + ridge * np.eye(65), x.T @ y) * 8.0
    return solution[:-1].T, solution[-1]


def write_seller(folder: Path, *, ridge: float = 1.0) -> Path:
    """Write linear_net.py and weights.safetensors to a new folder; return the weights' path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "linear_net.py").write_text(CODE)
    weight, bias = (torch.from_numpy(part.astype(np.float32)).contiguous() for part in _solution(ridge))
    save_file({"1.weight": weight, "1.bias": bias}, folder / "weights.safetensors")
    return folder / "weights.safetensors"


def imported(folder: Path, name: str = "net", *, ridge: float = 1.0) -> ImportedModel:
    """The linear classifier, checked and ready to be taken over."""
    weights = write_seller(folder, ridge=ridge)
    return prepare_import(
        weights,
        name=name,
        architecture="linear_net:build",
        labels=DIGITS,
        input_shape=(1, 8, 8),
        code_path=folder / "linear_net.py",
    )
