"""The generators that attack libraries draw from: seeded for a while, and put back."""

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch


@contextmanager
def seeded_libraries(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed Python's, NumPy's and PyTorch's global generators inside the block, and put them back after it.

    Inside, `np.random.RandomState()` without a seed, of which ART's attacks make one for each image, gets a seed as
    well. The generators belong to the process: nothing else may draw from them in another thread meanwhile.

    Args:
        seed: from 0 to 2**32 - 1.
        device: where the model is; of a CUDA device, its generator too.
    """
    device = torch.device(device)
    made = (int(np.random.SeedSequence((seed, number)).generate_state(1)[0]) for number in itertools.count(1))
    kind = np.random.RandomState

    class _Seeded(kind):  # type: ignore[misc, valid-type]  # a class in a variable: the name is replaced below
        def __init__(self, given: int | None = None) -> None:
            super().__init__(next(made) if given is None else given)

    pythons, numpys, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cudas = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the libraries draw from the legacy generators
    torch.default_generator.manual_seed(seed)
    if cudas is not None:
        torch.cuda.manual_seed(seed)
    try:
        with mock.patch.object(np.random, "RandomState", _Seeded):
            yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)  # noqa: NPY002
        torch.set_rng_state(torchs)
        if cudas is not None:
            torch.cuda.set_rng_state(cudas, device)
