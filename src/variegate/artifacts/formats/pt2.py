"""A copy as a program of torch.export (`model.pt2`): written for buyers who run PyTorch, never read here.

`torch.export.load` falls back to unpickling, which can run code; so what was exported is compared before it is saved.
"""

import io
from collections.abc import Callable

import torch
from torch import Tensor
from torch.export import ExportedProgram

from variegate.artifacts.formats.copy_module import CopyModule, example_inputs, quiet
from variegate.errors import ConfigurationError, ModelError
from variegate.rewriters.base import RewrittenCopy


def export_program(copy: RewrittenCopy, *, scores: bool = False) -> ExportedProgram:
    """Return the copy as a program: float32 (N, *input_shape) to int64 (N,) labels, and scores if asked for.

    Raises:
        ConfigurationError: if the rewriter cannot be exported.
        ModelError: if the original cannot be exported.
    """
    module = CopyModule(copy, scores=scores)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(
                module, (example_inputs(copy, 2),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
            )
    except ConfigurationError:
        raise
    except Exception as error:  # torch.export raises whatever its passes raise
        raise ModelError(
            f"the copy cannot be exported by torch.export for any batch size: {' '.join(str(error).split())[:200]}"
        ) from error
    for node in program.graph.nodes:
        for said in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(said, None)  # paths and names of the seller's machine and of the rewriter
    program.example_inputs = None  # they would be pickled into the file
    return program


def program_labeler(program: ExportedProgram) -> Callable[[Tensor], Tensor]:
    """Return a function from float32 (N, *input_shape) to int64 (N,), which runs the program in memory."""
    module = program.module()

    def predict(x: Tensor) -> Tensor:
        with torch.no_grad():
            out = module(x)
        labels: Tensor = out[0] if isinstance(out, tuple) else out
        return labels

    return predict


def program_bytes(program: ExportedProgram) -> bytes:
    """Return the file of the program, which torch's own writer makes."""
    file = io.BytesIO()
    with quiet():
        torch.export.save(program, file)
    return file.getvalue()
