"""A seller's model from files to a `Classifier`: at import, with every check, and later from its manifest."""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from variegate.errors import (
    ConfigurationError,
    InputError,
    ModelError,
    NondeterminismError,
    NotFoundError,
    VariegateError,
    VerificationError,
)
from variegate.files import read_bounded, sha256_file
from variegate.manifest import ModelManifest
from variegate.models.architectures.catalog import Argument, call_factory, find_architecture
from variegate.models.classifier import Classifier, Outputs
from variegate.models.seller_code import import_factory, is_reference, load_factory, read_sources
from variegate.models.state import fit_state, load_state
from variegate.types import Bounds, InputSpec, check_identifier

__all__ = [
    "WEIGHTS_FILE",
    "ImportedModel",
    "fill_arguments",
    "load_classifier",
    "load_factory",
    "load_state",
    "prepare_import",
]

WEIGHTS_FILE = "weights.safetensors"
"""The name of the weights inside a model's folder; code lies in `code/`."""

_MAX_CODE_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel:
    """A model that passed the checks, not stored yet.

    Attributes:
        manifest: its record, with the digests of the weights and of every file.
        files: name inside the model's folder -> content, or the file to copy from (the weights, which may be large).
    """

    manifest: ModelManifest
    files: Mapping[str, bytes | Path]


def prepare_import(
    weights: Path | str,
    *,
    name: str,
    architecture: str,
    labels: Sequence[str] | int,
    input_shape: Sequence[int],
    arguments: Mapping[str, Argument] | None = None,
    code_path: Path | str | None = None,
    bounds: Bounds | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    outputs: Outputs = "logits",
) -> ImportedModel:
    """Load a seller's model once, check that it is a deterministic classifier, and describe it. Writes nothing.

    Args:
        weights: a safetensors file.
        name: the seller's name for the model.
        architecture: a name of the catalog, or "module:factory" in the seller's own file.
        labels: class names, or how many classes there are ("class 0", "class 1", ...).
        input_shape: shape of one input, such as (3, 32, 32).
        arguments: for the factory; `num_classes`, and `in_channels` of variegate's own architectures, are filled in
            from `labels` and `input_shape` where the factory takes them and they are not given.
        code_path: the seller's Python file, or a folder of them; needed exactly for "module:factory".
        bounds: the interval of input values; [0, 1] by default.
        mean, std: normalisation before the network, one number or one per channel; None if the network does it.
        outputs: what the network returns.

    Raises:
        ConfigurationError: if the name or an option is out of range or options contradict each other.
        FormatError: if the weights file is truncated or of another format.
        InputError: if the labels or a file cannot be used.
        ModelError: if the code, the arguments and the weights do not make a classifier for these labels and inputs.
        NondeterminismError: if it answers differently when asked twice.
        NotFoundError: if a file or the architecture does not exist.
        UnsafeFormatError: if the weights are a pickle.
    """
    check_identifier(name, "a model's name")
    spec = InputSpec.resolve(None, input_shape, bounds)
    shape = spec.shape
    names = _label_names(labels)
    state = load_state(weights)
    sources: dict[str, bytes] = {}
    factory: Callable[..., object]
    if is_reference(architecture):
        if code_path is None:
            raise ConfigurationError(f"architecture {architecture!r} is a seller's own; give the Python file it is in")
        sources = read_sources(architecture, code_path)
        factory = import_factory(architecture, sources, origin=Path(code_path))
    else:
        if code_path is not None:
            raise ConfigurationError(
                f"architecture {architecture!r} is a name of the catalog and needs no code; to use {code_path}, write "
                "the architecture as module:function"
            )
        factory = find_architecture(architecture)
    complete = fill_arguments(
        factory, arguments or {}, num_classes=len(names), in_channels=None if sources else shape[0]
    )
    module = call_factory(factory, f"architecture {architecture!r}", complete)
    fit_state(module, state, f"architecture {architecture!r}")
    mean, std = _per_channel(mean, shape), _per_channel(std, shape)
    classifier = _classifier(module, spec, names, mean, std, outputs)
    check_determinism(classifier)
    files: dict[str, bytes | Path] = {WEIGHTS_FILE: Path(weights)}
    files.update({f"code/{file}": content for file, content in sources.items()})
    manifest = ModelManifest(
        name=name,
        architecture=architecture,
        arguments=complete,
        input_shape=spec.shape,
        bounds=spec.bounds,
        labels=names,
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
        outputs=outputs,
        weights_digest=classifier.digest,
        files={file: _sha256(content) for file, content in files.items()},
    )
    return ImportedModel(manifest=manifest, files=files)


def load_classifier(manifest: ModelManifest, folder: Path | str) -> Classifier:
    """Build the classifier that the manifest describes from the files in `folder`.

    Every file is checked against its digest before it is used; the code that runs is the bytes that were checked.

    Raises:
        ModelError: if the weights do not fit the architecture any more (another version of a plugin or of torch).
        NotFoundError: if the architecture does not exist here.
        VerificationError: if a file is missing or changed, or the weights are not those of the manifest.
    """
    folder = Path(folder)
    sources: dict[str, bytes] = {}
    for file, expected in manifest.files.items():
        try:
            if file.startswith("code/"):
                content = read_bounded(folder / file, _MAX_CODE_BYTES)
                sources[file.removeprefix("code/")] = content
                found = hashlib.sha256(content).hexdigest()
            else:
                found = sha256_file(folder / file)
        except (NotFoundError, InputError) as error:
            raise VerificationError(f"model {manifest.name}: {error}") from error
        if found != expected:
            raise VerificationError(
                f"model {manifest.name}: {folder / file} has SHA-256 {found[:16]}..., expected {expected[:16]}...; it "
                "was changed after the import, so restore it or import the model again"
            )
    if is_reference(manifest.architecture):
        factory = import_factory(manifest.architecture, sources, origin=folder / "code")
    else:
        factory = find_architecture(manifest.architecture)
    what = f"architecture {manifest.architecture!r} of model {manifest.name}"
    module: nn.Module = call_factory(factory, what, manifest.arguments)
    fit_state(module, load_state(folder / WEIGHTS_FILE), what)
    classifier = _classifier(
        module, manifest.input_spec, manifest.labels, manifest.mean, manifest.std, manifest.outputs
    )
    if classifier.digest != manifest.weights_digest:
        raise VerificationError(
            f"model {manifest.name}: the weights have digest {classifier.digest[:23]}..., the manifest says "
            f"{manifest.weights_digest[:23]}...; import the model again"
        )
    return classifier


def _classifier(
    module: nn.Module,
    spec: InputSpec,
    labels: tuple[str, ...],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    outputs: Outputs,
) -> Classifier:
    """Build the classifier, whatever a seller's `forward` raises."""
    try:
        return Classifier(module, input_spec=spec, labels=labels, mean=mean, std=std, outputs=outputs)
    except VariegateError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ModelError(f"the module fails on an input of shape {spec.shape}: {reason}") from error


def _label_names(labels: Sequence[str] | int) -> tuple[str, ...]:
    names = tuple(f"class {index}" for index in range(labels)) if isinstance(labels, int) else tuple(labels)
    if len(names) < 2:
        raise InputError(f"a classifier needs at least 2 labels; got {len(names)}")
    if isinstance(labels, str) or len(set(names)) != len(names):
        raise InputError(f"labels must be distinct names, one per class; got {labels!r:.120}")
    return names


def fill_arguments(
    factory: Callable[..., object], arguments: Mapping[str, Argument], *, num_classes: int, in_channels: int | None
) -> dict[str, Argument]:
    """Return the arguments with those filled in that follow from labels and input shape, where the factory takes them.

    Args:
        factory: of a network.
        arguments: given ones, which stay.
        num_classes: how many labels there are.
        in_channels: of an input; None for a seller's own factory, whose words may mean something else.
    """
    complete = dict(arguments)
    try:
        taken = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return complete
    if "num_classes" in taken:
        complete.setdefault("num_classes", num_classes)
    if "in_channels" in taken and in_channels is not None:
        complete.setdefault("in_channels", in_channels)
    return complete


def _per_channel(values: Sequence[float] | None, shape: tuple[int, ...]) -> Sequence[float] | None:
    if values is None:
        return None
    numbers = [float(value) for value in values]
    return numbers * shape[0] if len(numbers) == 1 else numbers


def _sha256(content: bytes | Path) -> str:
    return sha256_file(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()


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
