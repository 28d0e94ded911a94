"""A study: one data set, classifiers that were trained on it independently, and one spec for each rewriter.

`StudySource` says where everything lies and can be sent to another process; `Study` is what is loaded there. Copies
are those of an experiment (`variegate.evaluation.subjects`): the pair (original b, copy c) is the same copy in every
table and figure.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from variegate.data.catalog import load_dataset
from variegate.errors import ConfigurationError, InputError
from variegate.evaluation.subjects import experiment_heads
from variegate.manifest import ModelManifest
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier, check_inputs
from variegate.models.loading import load_classifier
from variegate.rewriters.base import AbstractHead, AbstractSpec, RewrittenCopy
from variegate.rewriters.catalog import spec_from_dict

REWRITERS = ("permutation", "spread_spectrum", "qim")
"""In the order of the paper's Table 2."""


@final
@dataclass(frozen=True, slots=True, order=True)
class CopyOf:
    """A classifier of a study: an original as it was trained (`rewriter` None), or one of its copies.

    Attributes:
        original: position among the study's originals.
        rewriter: name of the rewriter, or None.
        copy: number of the copy; 0 for an original.
    """

    original: int
    rewriter: str | None = None
    copy: int = 0

    def __str__(self) -> str:
        return f"o{self.original}" if self.rewriter is None else f"o{self.original}-{self.rewriter}-{self.copy}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StudySource:
    """Where a study's parts lie; equal sources give equal studies.

    Attributes:
        name: what tables call it, such as "cifar10".
        data: path of the data, or "digits".
        originals: (manifest, folder with the files) of each, at least one, all for the same inputs and classes.
        specs: rewriter -> parameters (`AbstractSpec.to_dict`), the same for all originals.
        test_limit: read only so many test images; None for all.
        seed: of the copies and of everything random.
        device: where the networks run.
    """

    name: str
    data: str
    originals: tuple[tuple[ModelManifest, Path], ...]
    specs: Mapping[str, Mapping[str, Any]] = field(hash=False)
    test_limit: int | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.originals:
            raise ConfigurationError(f"study {self.name!r} needs at least one original; got none")
        digests = [manifest.weights_digest for manifest, _ in self.originals]
        if len(set(digests)) < len(digests):
            raise ConfigurationError(f"study {self.name!r}: two of its originals have the same weights; name others")

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the study's results, without paths: for digests of shards and for records.

        Loads the study, because the data's content belongs to it.
        """
        return {
            "name": self.name,
            "data_digest": load_study(self).data_digest,
            "originals": [manifest.weights_digest for manifest, _ in self.originals],
            "manifests": [manifest.digest for manifest, _ in self.originals],
            "device": self.device.partition(":")[0],
            "specs": {name: dict(spec) for name, spec in sorted(self.specs.items())},
            "test_limit": self.test_limit,
            "seed": self.seed,
        }


@final
class Study:
    """A loaded study.

    Attributes:
        source: where it came from.
        originals: the classifiers.
        specs: rewriter -> spec.
        images: float32 (N, *input_shape), the test images, within the originals' bounds.
        labels: int64 (N,).
        data_digest: of the test images and labels, "sha256:...".
        memory: what an experiment wants to remember of the study in this process, by a key of its own.
    """

    def __init__(self, source: StudySource, originals: tuple[Classifier, ...], images: Tensor, labels: Tensor) -> None:
        self.source, self.originals = source, originals
        self.specs: dict[str, AbstractSpec] = {name: spec_from_dict(dict(spec)) for name, spec in source.specs.items()}
        first = originals[0]
        for number, other in enumerate(originals[1:], start=1):
            theirs, ours = ((c.input_shape, c.bounds, c.num_classes) for c in (other, first))
            if theirs != ours:
                raise ConfigurationError(
                    f"study {source.name!r}: original {number} must take the inputs and classes of original 0, {ours}; "
                    f"got {theirs}"
                )
        self.images = check_inputs(images, first.input_spec)
        self.labels = labels
        if labels.numel() and int(labels.max()) >= first.num_classes:
            raise InputError(
                f"study {source.name!r}: labels must be below {first.num_classes}, the originals' number of classes; "
                f"got {int(labels.max())}"
            )
        sha = hashlib.sha256(self.images.numpy().tobytes())
        sha.update(labels.numpy().tobytes())
        self.data_digest = f"sha256:{sha.hexdigest()}"
        self.memory: dict[object, Any] = {}
        self._heads: dict[CopyOf, AbstractHead] = {}

    def head(self, which: CopyOf) -> AbstractHead:
        """Return the head of a copy (not of an original)."""
        if which.rewriter is None:
            raise ConfigurationError(f"{which} is an original: it has no head")
        if which not in self._heads:
            spec = self._spec(which.rewriter)
            original = self.originals[which.original]
            self._heads[which] = experiment_heads(original, spec, copies=[which.copy], seed=self.source.seed)[0]
        return self._heads[which]

    def classifier(self, which: CopyOf) -> Classifier | RewrittenCopy:
        """Return an original, or one of its copies."""
        original = self.originals[which.original]
        return original if which.rewriter is None else RewrittenCopy(original, self.head(which))

    def bank(self, original: int, rewriter: str, copies: int) -> CopyBank:
        """Return copies 0 to `copies` - 1 of one original, to be asked together."""
        heads = [self.head(CopyOf(original, rewriter, copy)) for copy in range(copies)]
        return CopyBank(self.originals[original], heads)

    def order(self) -> list[int]:
        """Return the positions of all test images in the study's seeded order."""
        generator = torch.Generator().manual_seed(self.source.seed)
        return [int(place) for place in torch.randperm(len(self.labels), generator=generator)]

    def _spec(self, rewriter: str) -> AbstractSpec:
        if rewriter not in self.specs:
            known = ", ".join(sorted(self.specs)) or "none"
            raise ConfigurationError(f"study {self.source.name!r} has no spec for {rewriter!r}; it has {known}")
        return self.specs[rewriter]


@lru_cache(maxsize=2)
def _load(source_key: "_Key") -> Study:
    source = source_key.source
    loaded = load_dataset(source.data, split="test", limit=source.test_limit)
    originals = tuple(load_classifier(manifest, folder).to(source.device) for manifest, folder in source.originals)
    bounds = originals[0].bounds
    images = torch.from_numpy(loaded.images) * bounds.range + bounds.lower
    return Study(source, originals, images, torch.from_numpy(loaded.labels))


@final
class _Key:
    """A source as a key of the cache, by what decides it and where it lies."""

    def __init__(self, source: StudySource) -> None:
        self.source = source
        originals = [(manifest.digest, str(path)) for manifest, path in source.originals]
        specs = sorted((name, sorted(spec.items())) for name, spec in source.specs.items())
        place = (source.name, source.data, source.test_limit, source.seed, source.device)
        self._text = repr((place, originals, specs))

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._text == other._text


def load_study(source: StudySource) -> Study:
    """Load a study, or return the one that this process has loaded already.

    Raises:
        ConfigurationError, InputError, NotFoundError, VerificationError: the data or an original cannot be used; the
            sentence says why.
    """
    return _load(_Key(source))
