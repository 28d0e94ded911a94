"""A seller with one tiny original and one copy, for the tests of artifacts."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from variegate.keys import CopyKey, KeyContext, SellerSecret
from variegate.manifest import CopyManifest, ModelManifest, copy_id
from variegate.models.architectures.catalog import call_factory, find_architecture
from variegate.models.classifier import Classifier
from variegate.registry.rows import LogHead
from variegate.rewriters.base import RewrittenCopy, rewrite
from variegate.rewriters.catalog import spec_from_dict
from variegate.signing import public_pem, signing_key
from variegate.types import Bounds

SECRET = SellerSecret.from_bytes(bytes(range(32)))
KEY = signing_key(SECRET)
PEM = public_pem(KEY).encode()
ISSUED = "2026-01-31T12:00:00Z"
CREATED = 1_770_000_000  # 2026-02-02T02:40:00Z
NOW = CREATED + 1000
LOG = LogHead(seq=3, hash="sha256:" + "ab" * 32)
SHAPE = (1, 8, 8)
QIM = {"rewriter": "qim", "messages_per_class": 4, "quantization_step": 0.3}


@dataclass(frozen=True)
class Sold:
    model_manifest: ModelManifest
    copy_manifest: CopyManifest
    key: CopyKey
    copy: RewrittenCopy


@cache
def _original(bounds: Bounds, normalised: bool) -> tuple[Classifier, ModelManifest]:
    architecture, arguments = "digits_cnn", {"num_classes": 10, "in_channels": 1}
    mean, std = ((0.3,), (0.5,)) if normalised else (None, None)
    module: nn.Module = call_factory(find_architecture(architecture), "the tests' architecture", arguments, seed=7)
    original = Classifier(module, input_shape=SHAPE, labels=10, bounds=bounds, mean=mean, std=std)
    manifest = ModelManifest(
        name="digits",
        architecture=architecture,
        arguments=arguments,
        input_shape=SHAPE,
        bounds=bounds,
        labels=original.labels,
        mean=mean,
        std=std,
        weights_digest=original.digest,
        files={"weights.safetensors": "0" * 64},
    )
    return original, manifest


def sell(spec_values=QIM, *, buyer="acme", bounds=(0.0, 1.0), normalised=False) -> Sold:
    original, model = _original(Bounds(*bounds), normalised)
    spec = spec_from_dict(spec_values)
    copy = CopyManifest(
        copy_id=copy_id(model_digest=model.digest, spec_digest=spec.digest, buyer=buyer, epoch=1),
        model=model.name,
        model_digest=model.digest,
        rewriter=spec.rewriter,
        spec=spec.to_dict(),
        spec_digest=spec.digest,
        buyer=buyer,
        epoch=1,
        issued_at=ISSUED,
    )
    key = SECRET.derive(
        KeyContext(model_digest=model.digest, rewriter=spec.rewriter, spec_digest=spec.digest, buyer=buyer, epoch=1)
    )
    return Sold(model_manifest=model, copy_manifest=copy, key=key, copy=rewrite(original, key, spec))


def noise(count: int, *, bounds=(0.0, 1.0), seed: int = 1) -> torch.Tensor:
    x = torch.rand((count, *SHAPE), generator=torch.Generator().manual_seed(seed))
    return bounds[0] + (bounds[1] - bounds[0]) * x
