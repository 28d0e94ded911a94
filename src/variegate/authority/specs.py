"""Calibrated specs under their names, and the policies that say on what terms copies are issued with them. No torch.

A saved spec is a file of the home (`specs/<name>.json`): the spec, the model that it was calibrated for, and the record
of its calibration. The registry remembers each spec that copies may be issued with by its digest.

A policy never changes once it is recorded: the copies that were issued under it refer to it by name.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeAlias, final

from pydantic import Field, ValidationError

from variegate.authority.home import Home
from variegate.errors import ConfigurationError, ConflictError, FormatError, NotFoundError, VerificationError
from variegate.files import read_bounded, write_atomic
from variegate.keys import KeyContext, SellerSecret
from variegate.manifest import ModelManifest, digest, load_json
from variegate.manifest.document import Part, explain
from variegate.registry.records import add_policy, add_spec, get_model, get_policy
from variegate.registry.registry import Registry
from variegate.types import check_identifier

if TYPE_CHECKING:
    from variegate.rewriters.base import AbstractSpec

POLICY_FORMAT: Final = 1

_SPEC_FORMAT: Final = 1
_LIMIT_BYTES: Final = 64 * 2**20
_MAX_SECONDS: Final = 100 * 366 * 86_400
_MAX_QUOTA: Final = 2**62
_MAX_PARTNERS: Final = 2**31 - 1
_LONGEST_NAME: Final = 128

_Number: TypeAlias = int | float  # a whole number stays one, and its canonical JSON with it


@final
class Policy(Part):
    """On what terms copies are issued.

    Attributes:
        spec: the name of the saved spec that copies are made with.
        spec_digest: its digest.
        max_label_change: the largest share of labels that a copy may change, 0 to 1; None for no limit.
        quota: how many queries a copy answers in its life; None for no limit.
        rate: queries a second that a copy answers; None for no limit.
        valid_seconds: how long a copy is valid from its issue on; None for ever.
        most_equal_partners: for the permutation rewriter, how many classes may have the same partner in a copy under
            this policy and any copy issued before it, at most; None for no limit. Copies under other terms keep no
            distance, neither from each other nor from these.
        forgettable: whether each copy's key also depends on a salt of its own, which can be erased.

    Raises:
        ConfigurationError: if a value is out of range or of another type; the message names the field.
    """

    spec: str
    spec_digest: str
    max_label_change: Annotated[_Number, Field(ge=0, le=1)] | None = None
    quota: Annotated[int, Field(ge=1, le=_MAX_QUOTA)] | None = None
    rate: Annotated[_Number, Field(gt=0)] | None = None
    valid_seconds: Annotated[int, Field(ge=1, le=_MAX_SECONDS)] | None = None
    most_equal_partners: Annotated[int, Field(ge=0, le=_MAX_PARTNERS)] | None = None
    forgettable: bool = False

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 (the fields type them)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigurationError(f"a policy's {explain(error)}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the policy as a JSON object; `from_dict` is its inverse."""
        return {"format": POLICY_FORMAT, **dict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            FormatError: if it is not a policy, or of another format.
            ConfigurationError: if a value is out of range.
        """
        values = dict(data)
        if values.pop("format", None) != POLICY_FORMAT:
            raise FormatError(f"a policy's format must be {POLICY_FORMAT}; got {data.get('format')!r:.40}")
        if odd := ", ".join(sorted(set(values) ^ set(cls.model_fields))):
            raise FormatError(f"a policy must have the fields {', '.join(cls.model_fields)}; these differ: {odd}")
        return cls(**values)


@final
class SavedSpec(Part):
    """A rewriter spec under a name.

    Attributes:
        format: of the file.
        kind: always "spec".
        name: what the seller calls it.
        model: the original that it was calibrated for, or None if it is for any.
        model_digest: the digest of that original's manifest, or None.
        spec: the spec as a JSON object.
        spec_digest: its digest.
        record: what the calibration measured, or None.
    """

    format: Literal[1] = _SPEC_FORMAT
    kind: Literal["spec"] = "spec"
    name: str
    model: str | None
    model_digest: str | None
    spec: dict[str, Any]
    spec_digest: str
    record: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the file's JSON object."""
        return dict(self)


@final
class SpecShelf:
    """Keeps specs and policies; `variegate.authority.Authority` says what its methods mean and raise.

    Args:
        home: where the specs' files are.
        registry: the registry.
    """

    def __init__(self, home: Home, registry: Registry) -> None:
        self._home = home
        self._registry = registry

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
        path, values = self._path(name), spec.to_dict()
        manifest = None if model is None else self._registry.read(get_model, model)
        if manifest is not None:
            _check_fit(spec, manifest)
        if path.exists() and not replace and _read(path).spec_digest != spec.digest:
            raise ConflictError(f"a spec named {name!r} with other parameters exists already; choose another name")
        saved = SavedSpec(
            name=name,
            model=model,
            model_digest=None if manifest is None else manifest.digest,
            spec=values,
            spec_digest=spec.digest,
            record=None if record is None else dict(record),
        )
        self._registry.write(add_spec, name, values)
        text = json.dumps(saved.to_dict(), indent=2, sort_keys=True, allow_nan=False)
        write_atomic(path, text.encode() + b"\n")
        return saved

    def require_free(self, name: str) -> None:
        """See `Authority.require_free_spec`."""
        if self._path(name).exists():
            raise ConflictError(f"a spec named {name!r} exists already; choose another name, or replace it (--replace)")

    def all(self) -> list[SavedSpec]:
        """See `Authority.list_specs`."""
        return [_read(path) for path in sorted(self._home.specs.glob("*.json"))]

    def get(self, name: str) -> SavedSpec:
        """See `Authority.saved_spec`."""
        return _read(self._path(name))

    def find(self, name: str, model: str) -> SavedSpec:
        """See `Authority.find_spec`."""
        check_identifier(name, "a spec's name")
        candidates = [name, f"{model}-{name}"]
        found = [each for each in candidates if len(each) <= _LONGEST_NAME and self._path(each).is_file()]
        if not found:
            raise NotFoundError(
                f"there is no rewriter spec named {name!r} or {model}-{name}; make one with: variegate calibrate"
            )
        saved = [self.get(each) for each in found]
        wanted = self._registry.read(get_model, model).digest
        fitting = [each for each in saved if each.model_digest in (None, wanted)]
        if not fitting:
            raise ConfigurationError(
                f"the spec {saved[0].name!r} was calibrated for model {saved[0].model!r}; got {model!r}: calibrate for "
                "it"
            )
        if len(fitting) > 1:
            raise ConfigurationError(
                f"{name!r} may mean the spec {found[0]!r} or the spec {found[1]!r}; name {found[1]!r}, or save "
                f"{found[0]!r} under another name"
            )
        return fitting[0]

    def create_policy(self, name: str, spec: str, terms: Mapping[str, Any]) -> Policy:
        """See `Authority.create_policy`."""
        check_identifier(name, "a policy's name")
        saved = self.get(spec)
        policy = Policy(spec=spec, spec_digest=saved.spec_digest, **terms)
        check_policy(policy, rewriter=str(saved.spec["rewriter"]), record=saved.record)
        self._registry.write(add_policy, name, policy.to_dict())
        return policy

    def policy(self, name: str) -> Policy:
        """See `Authority.policy`."""
        return Policy.from_dict(self._registry.read(get_policy, name).body)

    def _path(self, name: str) -> Path:
        return self._home.spec(check_identifier(name, "a spec's name"))


def change_bound(record: Mapping[str, Any] | None) -> float | None:
    """Return the upper confidence bound of the label change that a calibration measured, or None if it says none."""
    chosen = [one for one in (record or {}).get("candidates", ()) if one.get("chosen")]
    bound = chosen[0].get("change_bound") if len(chosen) == 1 else None
    return float(bound) if isinstance(bound, int | float) else None


def check_policy(policy: Policy, *, rewriter: str, record: Mapping[str, Any] | None) -> None:
    """Check that a spec can be issued under a policy.

    Args:
        policy: the policy.
        rewriter: the spec's rewriter.
        record: of the spec's calibration, or None.

    Raises:
        ConfigurationError: if it cannot; the sentence says why.
    """
    if policy.most_equal_partners is not None and rewriter != "permutation":
        raise ConfigurationError(
            f"a distance between copies is kept for the permutation rewriter; the spec {policy.spec!r} is of "
            f"{rewriter!r}: leave it out"
        )
    if policy.max_label_change is None:
        return
    bound = change_bound(record)
    if bound is None:
        raise ConfigurationError(
            f"the spec {policy.spec!r} was not calibrated, so how many labels it changes is unknown; "
            "calibrate one (variegate calibrate), or leave the limit out"
        )
    if bound > policy.max_label_change:
        raise ConfigurationError(
            f"the spec {policy.spec!r} may change up to {bound:.2%} of the labels (95 % bound), more than the "
            f"{policy.max_label_change:.2%} that the policy allows; calibrate with a smaller --max-change"
        )


def _read(path: Path) -> SavedSpec:
    """Read a saved spec's file.

    Raises:
        NotFoundError: if there is no such file.
        FormatError: if the file is not a saved spec, or of a newer format.
        VerificationError: if the spec does not have the digest that is recorded with it.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no rewriter spec named {path.stem!r}; make one with: variegate calibrate")
    values = load_json(read_bounded(path, _LIMIT_BYTES), f"the saved spec {path}")
    stated = values.get("format")
    if isinstance(stated, int) and stated > _SPEC_FORMAT:
        raise FormatError(f"{path} has format {stated}, newer than {_SPEC_FORMAT}; upgrade variegate")
    try:
        saved = SavedSpec.model_validate(values)
    except ValidationError as error:
        raise FormatError(
            f"{path} is not a rewriter spec that variegate saved: {explain(error)}; calibrate again"
        ) from error
    if digest(saved.spec) != saved.spec_digest:
        raise VerificationError(
            f"the spec in {path} does not have the digest that is recorded with it; calibrate again"
        )
    return saved


def _check_fit(spec: "AbstractSpec", manifest: ModelManifest) -> None:
    """Build a head from a key that is thrown away, so that a spec that does not fit the original is refused early."""
    from variegate.rewriters.base import OriginalShape

    context = KeyContext(
        model_digest=manifest.digest, rewriter=spec.rewriter, spec_digest=spec.digest, buyer="nobody", epoch=1
    )
    shape = OriginalShape(num_classes=len(manifest.labels), input_spec=manifest.input_spec)
    spec.build(SellerSecret.generate().derive(context), shape)
