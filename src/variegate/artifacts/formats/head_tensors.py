"""The tensors of a head, which are all that a copy's key decides, and a head made from them again.

A rewriter keeps all that depends on the key in buffers or parameters of its head; everything else follows from spec and
shape. So a head built from any key becomes the copy's head when its tensors are replaced. A plugin's head that breaks
this rule is found when an artifact is written: the restored copy must answer as the copy does.
"""

from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from variegate.errors import FormatError
from variegate.keys import SECRET_BYTES, CopyKey
from variegate.rewriters.base import AbstractHead, AbstractSpec, OriginalShape


def head_tensors(head: AbstractHead) -> dict[str, Tensor]:
    """Return the head's buffers and parameters by name, as copies on the CPU that share no memory."""
    named = (*head.named_buffers(remove_duplicate=False), *head.named_parameters(remove_duplicate=False))
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in named}


@torch.no_grad()
def restore_head(spec: AbstractSpec, tensors: Mapping[str, Tensor], shape: OriginalShape) -> AbstractHead:
    """Return the head that has these tensors.

    Raises:
        FormatError: if names, shapes or types are not those of the spec's head.
    """
    head = spec.build(CopyKey.from_bytes(bytes(SECRET_BYTES)), shape)  # whose tensors are all replaced
    expected = {**dict(head.named_buffers(remove_duplicate=False)), **dict(head.named_parameters())}
    if expected.keys() != tensors.keys():
        raise FormatError(
            f"the tensors of a {spec.rewriter} head must be {', '.join(sorted(expected))}; got "
            f"{', '.join(sorted(tensors))[:200]}"
        )
    for name, place in expected.items():
        tensor = tensors[name]
        if tensor.shape != place.shape or tensor.dtype != place.dtype:
            raise FormatError(
                f"the head's tensor {name} must be {place.dtype} {tuple(place.shape)}; got {tensor.dtype} "
                f"{tuple(tensor.shape)}"
            )
        place.copy_(tensor)
    return head


def tensors_to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the tensors as safetensors."""
    return save(dict(tensors))


def tensors_from_bytes(data: bytes) -> dict[str, Tensor]:
    """Read what `tensors_to_bytes` wrote.

    Raises:
        FormatError: if it is no safetensors.
    """
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise FormatError(f"the tensors are no whole safetensors: {str(error)[:160]}") from error
