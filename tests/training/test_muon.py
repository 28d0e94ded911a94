"""Muon beside its definition: a singular value decomposition for kernels, torch's SGD for the rest."""

import pytest
import torch
from torch import Tensor, nn

from variegate.training.muon import Muon, orthogonalised


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 36), (36, 8), (24, 24), (1, 9), (5, 1)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_singular_vectors_stay_and_values_come_near_one(shape: tuple[int, int], scale: float) -> None:
    matrix = scale * draw(*shape)
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix)
    inner = u.T @ found @ v.T
    large = values > 0.1 * values.max()
    assert found.dtype == torch.float32
    assert float((inner - torch.diag(inner.diagonal())).abs().max()) < 0.05  # bfloat16
    assert float(inner.diagonal()[large].min()) > 0.3
    assert float(inner.diagonal().max()) < 1.3


def test_nothing_to_turn() -> None:
    assert not bool(orthogonalised(torch.zeros(3, 7)).any())


def test_a_kernel_moves_by_its_orthogonalised_momentum_at_a_fixed_norm() -> None:
    kernel = nn.Parameter(draw(4, 3, 2, 2))
    optimizer = Muon([kernel], lr=0.5, momentum=0.9)
    expected, buffer = kernel.detach().clone(), torch.zeros(4, 3, 2, 2)
    for step in range(3):
        gradient = draw(4, 3, 2, 2, seed=step + 1)
        kernel.grad = gradient.clone()
        optimizer.step()
        buffer = 0.6 * buffer + gradient
        turned = orthogonalised((gradient + 0.6 * buffer).flatten(1)).view_as(kernel)
        expected = expected * (2.0 / expected.norm()) - 0.32 * 0.5 * turned
        assert torch.allclose(kernel, expected, atol=0.01)  # other order of columns, sums in bfloat16
    assert not torch.allclose(kernel, 2.0 * draw(4, 3, 2, 2) / draw(4, 3, 2, 2).norm(), atol=0.1)


def test_the_rest_moves_as_in_sgd() -> None:
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    groups = [
        [{"params": [module.weight], "weight_decay": 0.1}, {"params": [module.bias]}] for module in (ours, theirs)
    ]
    optimizers = (Muon(groups[0], lr=0.2, momentum=0.8), torch.optim.SGD(groups[1], 0.2, momentum=0.8, nesterov=True))
    for step in range(4):
        for module, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            module(draw(5, 3, seed=step)).square().sum().backward()
            optimizer.step()
    assert torch.allclose(ours.weight, theirs.weight, atol=1e-6)
    assert torch.allclose(ours.bias, theirs.bias, atol=1e-6)


def test_layout_of_memory_does_not_matter_and_frozen_parameters_stay() -> None:
    plain, last = nn.Parameter(draw(6, 4, 3, 3)), nn.Parameter(draw(6, 4, 3, 3).to(memory_format=torch.channels_last))
    frozen = nn.Parameter(draw(2, 2), requires_grad=False)
    optimizer = Muon([plain, last, frozen], lr=0.1, momentum=0.9)
    plain.grad = draw(6, 4, 3, 3, seed=1)
    last.grad = plain.grad.to(memory_format=torch.channels_last)
    assert optimizer.step(lambda: 1.5) == 1.5
    assert torch.allclose(plain, last, atol=1e-6)
    assert torch.equal(frozen, draw(2, 2))
    assert set(optimizer.state) == {plain, last}
