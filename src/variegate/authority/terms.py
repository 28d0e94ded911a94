"""What a batch of copies has in common: original, spec, policy, secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from variegate.authority.policies import Policy
from variegate.keys import KeyContext
from variegate.manifest import ModelManifest
from variegate.registry.rows import CopyRow


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what copies are issued.

    Attributes:
        model: the original's manifest.
        spec_name: what the seller calls the spec.
        spec: the rewriter's spec as a JSON object.
        spec_digest: its digest.
        secret: the identifier of the seller's secret that the keys come from.
        issued_at: Unix time in whole seconds.
        policy_name: of the policy, or None.
        policy: the policy, or None.
    """

    model: ModelManifest
    spec_name: str
    spec: Mapping[str, Any] = field(repr=False)
    spec_digest: str
    secret: str
    issued_at: int
    policy_name: str | None = None
    policy: Policy | None = None

    @property
    def rewriter(self) -> str:
        """The rewriter's name."""
        return str(self.spec["rewriter"])

    @property
    def expires_at(self) -> int | None:
        """From when the copies are no longer valid."""
        if self.policy is None or self.policy.valid_seconds is None:
            return None
        return self.issued_at + self.policy.valid_seconds

    @property
    def most_equal_partners(self) -> int | None:
        """The policy's bound on equal partners."""
        return None if self.policy is None else self.policy.most_equal_partners

    @property
    def forgettable(self) -> bool:
        """Whether each copy gets a salt of its own."""
        return self.policy is not None and self.policy.forgettable


def key_context(row: CopyRow, rewriter: str) -> KeyContext:
    """Return what the key of a copy is bound to."""
    return KeyContext(
        model_digest=row.model_digest,
        rewriter=rewriter,
        spec_digest=row.spec_digest,
        buyer=row.buyer,
        epoch=row.epoch,
    )
