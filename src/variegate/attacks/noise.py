"""Where an attack's randomness comes from: one stream per input, so that a batch changes nothing.

Every draw names the input, its purpose and its place, and is made by a generator seeded from these alone. So the attack
on an input gives the same result alone, in any batch and after a resume, as long as the model's labels do.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol, final

import torch
from torch import Tensor


class NoiseSource(Protocol):
    """Draws for the input at position `row`; tests and benchmarks replay another library's draws through this."""

    def start(self, row: int, trial: int, shape: tuple[int, ...]) -> Tensor:
        """Return float32 `shape`, uniform on [0, 1): the noise of one starting trial."""
        ...

    def probes(self, row: int, iteration: int, first: int, shape: tuple[int, int], *, gaussian: bool) -> Tensor:
        """Return float32 (count, d), standard normal or uniform on [-1, 1): probes `first`, `first` + 1, ..."""
        ...


@final
class SeededNoise:
    """Noise decided by a seed and by an identity for each input (its index in the data set, say)."""

    def __init__(self, seed: int, identities: Sequence[int], *, device: torch.device | str = "cpu") -> None:
        self._seed = int(seed)
        self._identities = tuple(int(identity) for identity in identities)
        self._generator = torch.Generator(device=device)

    def start(self, row: int, trial: int, shape: tuple[int, ...]) -> Tensor:
        """Return float32 `shape`, uniform on [0, 1)."""
        return torch.rand(shape, generator=self._at("start", row, trial, 0), device=self._generator.device)

    def probes(self, row: int, iteration: int, first: int, shape: tuple[int, int], *, gaussian: bool) -> Tensor:
        """Return float32 (count, d), standard normal or uniform on [-1, 1)."""
        generator = self._at("probes", row, iteration, first)
        if gaussian:
            return torch.randn(shape, generator=generator, device=generator.device)
        return torch.rand(shape, generator=generator, device=generator.device).mul_(2.0).sub_(1.0)

    def _at(self, purpose: str, row: int, place: int, offset: int) -> torch.Generator:
        text = f"{purpose}/{self._seed}/{self._identities[row]}/{place}/{offset}".encode()
        self._generator.manual_seed(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1)
        return self._generator
