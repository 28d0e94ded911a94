"""What a verification says: its steps, one by one. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, final

from variegate.artifacts.manifest import ArtifactManifest
from variegate.errors import VerificationError

Outcome = Literal["passed", "failed", "skipped"]

STEPS: Final = ("signature", "files", "manifest", "identity", "times", "revocation")
"""The names of the steps, from number 1 on; the caller's checks follow."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What became of one step.

    Attributes:
        number: from 1 on; `variegate.artifacts.verify.verify_artifact` numbers the caller's checks itself.
        name: one of `STEPS`, or the name of the caller's check.
        outcome: "passed", "failed" or "skipped".
        detail: one sentence for a person.
    """

    number: int
    name: str
    outcome: Outcome
    detail: str


Check = Callable[[ArtifactManifest], Step]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All steps, in order.

    Attributes:
        steps: what became of each.
        manifest: the artifact's manifest, if step 3 passed; it can be trusted if `passed`.
    """

    steps: tuple[Step, ...]
    manifest: ArtifactManifest | None

    @property
    def passed(self) -> bool:
        """Whether no step failed; a skipped check of revocation does not count as a failure."""
        return self.failure is None

    @property
    def failure(self) -> Step | None:
        """The step that failed, or None."""
        return next((step for step in self.steps if step.outcome == "failed"), None)

    def require(self) -> ArtifactManifest:
        """Return the manifest of an artifact that passed.

        Raises:
            VerificationError: names the step that failed.
        """
        if self.failure is not None or self.manifest is None:
            step = self.failure or self.steps[-1]
            raise VerificationError(f"the artifact fails step {step.number} ({step.name}): {step.detail}")
        return self.manifest

    def to_dict(self) -> dict[str, Any]:
        """A fresh JSON object, as `variegate verify --json` prints it."""
        return {
            "passed": self.passed,
            "steps": [
                {"number": step.number, "name": step.name, "outcome": step.outcome, "detail": step.detail}
                for step in self.steps
            ],
            "manifest": None if self.manifest is None else self.manifest.to_dict(),
        }
