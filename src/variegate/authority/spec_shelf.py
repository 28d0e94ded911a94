"""The saved specs of one home, and the policies that are made on them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from variegate.authority.home import Home
from variegate.authority.policies import Policy, check_policy
from variegate.authority.spec_files import SavedSpec, read_spec, write_spec
from variegate.errors import ConflictError
from variegate.keys import KeyContext, SellerSecret
from variegate.manifest import ModelManifest
from variegate.registry.records import add_policy, add_spec, get_model
from variegate.registry.registry import Registry
from variegate.types import check_identifier

if TYPE_CHECKING:
    from variegate.rewriters.base import AbstractSpec


@final
class SpecShelf:
    """Keeps specs and policies; `variegate.authority.Authority` says what its methods mean and raise.

    Args:
        home: where the specs lie.
        store: the registry.
    """

    def __init__(self, home: Home, store: Registry) -> None:
        self._home = home
        self._store = store

    def save(
        self,
        name: str,
        spec: "AbstractSpec",
        *,
        model: str | None,
        record: Mapping[str, Any] | None,
        replace: bool,
    ) -> SavedSpec:
        """See `Authority.save_spec`."""
        check_identifier(name, "a spec's name")
        values = spec.to_dict()
        path = self._home.spec(name)
        manifest = None if model is None else self._store.read(get_model, model)
        model_digest = None if manifest is None else manifest.digest
        if manifest is not None:
            _check_fit(spec, manifest)
        if path.exists() and not replace and read_spec(path).spec_digest != spec.digest:
            raise ConflictError(f"a spec named {name!r} with other parameters exists already; choose another name")
        saved = SavedSpec(
            name=name, model=model, model_digest=model_digest, spec=values, spec_digest=spec.digest, record=record
        )
        self._store.write(add_spec, name, values)
        write_spec(path, saved)
        return saved

    def require_free(self, name: str) -> None:
        """See `Authority.require_free_spec`."""
        if self._home.spec(check_identifier(name, "a spec's name")).exists():
            raise ConflictError(f"a spec named {name!r} exists already; choose another name, or replace it (--replace)")

    def all(self) -> list[SavedSpec]:
        """See `Authority.list_specs`."""
        return [read_spec(path) for path in sorted(self._home.specs.glob("*.json"))]

    def get(self, name: str) -> SavedSpec:
        """See `Authority.saved_spec`."""
        return read_spec(self._home.spec(check_identifier(name, "a spec's name")))

    def create_policy(self, name: str, **terms: Any) -> Policy:  # noqa: ANN401 (`Authority.create_policy` types them)
        """See `Authority.create_policy`."""
        check_identifier(name, "a policy's name")
        saved = self.get(terms["spec"])
        policy = Policy(spec_digest=saved.spec_digest, **terms)
        check_policy(policy, rewriter=str(saved.spec["rewriter"]), record=saved.record)
        self._store.write(add_policy, name, policy.to_dict())
        return policy


def _check_fit(spec: "AbstractSpec", manifest: ModelManifest) -> None:
    """Build a head from a key that is thrown away, so that a spec that does not fit the original is refused early."""
    from variegate.rewriters.base import OriginalShape

    context = KeyContext(
        model_digest=manifest.digest, rewriter=spec.rewriter, spec_digest=spec.digest, buyer="nobody", epoch=1
    )
    shape = OriginalShape(num_classes=len(manifest.labels), input_shape=manifest.input_shape, bounds=manifest.bounds)
    spec.build(SellerSecret.generate().derive(context), shape)
