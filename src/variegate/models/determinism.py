"""The check that a classifier answers alike when asked twice, whatever else is in the batch."""

import torch

from variegate.errors import ModelError, NondeterminismError
from variegate.models.classifier import Classifier

_INPUTS = 12
_REPEATED = 1e-4
_REBATCHED = 1e-3


def check_determinism(classifier: Classifier, *, seed: int = 0) -> None:
    """Ask for 12 uniformly random inputs: all at once, once more, and in batches of 5 and 7.

    Logits may differ by rounding only: by 1e-4 (repeated) and 1e-3 (other batches) of the largest logit. Labels must be
    equal unless the two best logits are closer than that.

    Raises:
        ModelError: if the classifier fails on a random input or answers with NaN or infinity.
        NondeterminismError: if the answers differ: dropout or noise that is active in evaluation mode, or batch
            normalisation without running statistics.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(_INPUTS, *classifier.input_shape, generator=generator)
    x = (classifier.bounds.lower + x * classifier.bounds.range).to(classifier.device)
    try:
        first = classifier.logits(x)
        again = classifier.logits(x)
        rebatched = torch.cat([classifier.logits(x[:5]), classifier.logits(x[5:])])
    except Exception as error:  # a seller's own code may raise anything
        raise ModelError(f"the module fails on a random input: {' '.join(str(error).split())[:200]}") from error
    if not bool(first.isfinite().all()):
        raise ModelError("the module must return finite numbers; got NaN or infinity for a random input")
    scale = max(1.0, float(first.abs().max()))
    _compare(first, again, _REPEATED * scale, "when the same batch is asked twice")
    _compare(first, rebatched, _REBATCHED * scale, "when the inputs come in other batches")


def _compare(first: torch.Tensor, second: torch.Tensor, tolerance: float, when: str) -> None:
    difference = float((first - second).abs().max())
    best = first.topk(2).values
    clear = best[:, 0] - best[:, 1] > 2 * tolerance
    flipped = int((first.argmax(1) != second.argmax(1))[clear].sum())
    if flipped or not difference <= tolerance:
        raise NondeterminismError(
            f"the module must answer alike {when}; logits differ by {difference:.3g} and {flipped} of {_INPUTS} labels "
            "change: switch off dropout and noise in eval(), and give batch normalisation its running statistics"
        )
