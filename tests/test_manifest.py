import copy
import hashlib
import json
import math
from dataclasses import FrozenInstanceError, replace
from enum import IntEnum, StrEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variegate.errors import ConfigurationError, FormatError, InputError
from variegate.manifest import CopyManifest, ModelManifest, canonical_json, digest, load_json
from variegate.types import Bounds

DIGEST = "sha256:" + "0f" * 32
MODEL = ModelManifest(
    name="signs-43",
    architecture="vgg19",
    arguments={"num_classes": 3, "rate": 0.5, "norm": "batch", "bias": True},
    input_shape=(3, 32, 32),
    bounds=Bounds(),
    labels=("stop", "go", "café"),
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.2, 0.2),
    outputs="logits",
    weights_digest=DIGEST,
    files={"weights.safetensors": "ab" * 32, "code/net.py": "cd" * 32},
    extra={"note": {"from": "a later version", "list": [1, 2.5, None]}},
)
COPY = CopyManifest(
    copy_id="vg1-0123456789abcdef0123",
    model="signs-43",
    model_digest=DIGEST,
    rewriter="qim",
    spec={"messages_per_class": 16, "quantization_step": 0.1, "nested": {"a": [True, None]}},
    spec_digest=DIGEST,
    buyer="acme@example",
    epoch=1,
    issued_at="2026-01-31T12:00:00Z",
    extra={"signature": "none"},
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
objects = st.dictionaries(texts, values, max_size=4)
extras = st.dictionaries(texts.map(lambda key: "x-" + key), values, max_size=3)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,20}", fullmatch=True)
digests = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
finite = st.floats(-1e6, 1e6)


@st.composite
def model_manifests(draw):
    shape = draw(st.lists(st.integers(1, 300), min_size=1, max_size=4))
    channels = st.lists(finite, min_size=shape[0], max_size=shape[0])
    normalised = shape[0] <= 4 and draw(st.booleans())
    lower = draw(finite)
    return ModelManifest(
        name=draw(names),
        architecture=draw(st.sampled_from(["vgg19", "net:build", "a.b:c"])),
        arguments=draw(st.dictionaries(texts, st.booleans() | st.integers() | finite | texts, max_size=3)),
        input_shape=tuple(shape),
        bounds=Bounds(lower, lower + 1),
        labels=tuple(draw(st.lists(texts.map(lambda text: "l" + text), min_size=2, max_size=4))),
        mean=tuple(draw(channels)) if normalised else None,
        std=tuple(abs(x) + 0.1 for x in draw(channels)) if normalised else None,
        outputs=draw(st.sampled_from(["logits", "probabilities"])),
        weights_digest=draw(digests),
        files={"weights.safetensors": draw(digests)[7:]},
        extra=draw(extras),
    )


copy_manifests = st.builds(
    CopyManifest,
    copy_id=names,
    model=names,
    model_digest=digests,
    rewriter=names,
    spec=objects,
    spec_digest=digests,
    buyer=names,
    epoch=st.integers(0, 2**40),
    issued_at=st.datetimes().map(lambda time: time.isoformat() + "Z"),
    extra=extras,
)


# Canonical JSON


def test_canonical_json_is_spelled_in_one_way():
    value = {"b": 1, "a": [True, None, 1.0, -0.5, 1e100], "é": 'ü\n"', "B": {}}
    assert canonical_json(value) == '{"B":{},"a":[true,null,1.0,-0.5,1e+100],"b":1,"é":"ü\\n\\""}'.encode()
    assert digest({"b": 1, "a": 2}) == "sha256:" + hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


@given(value=objects)
def test_canonical_json_reads_back_and_is_stable(value):
    data = canonical_json(value)
    assert json.loads(data) == value
    assert load_json(data, "it") == value
    assert canonical_json(load_json(data, "it")) == data
    assert digest(value) == "sha256:" + hashlib.sha256(data).hexdigest()


@given(value=objects)
def test_the_order_of_keys_does_not_count(value):
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@given(first=values, second=values)
def test_values_that_differ_have_other_digests(first, second):
    assert (digest(first) == digest(second)) == (canonical_json(first) == canonical_json(second))


def test_whole_floats_are_not_integers_and_true_is_not_one():
    assert len({digest(value) for value in (1, 1.0, True, "1", [1])}) == 5


def test_subclasses_are_written_as_what_they_are():
    class Color(StrEnum):
        RED = "red"

    class Number(IntEnum):
        TWO = 2

    assert canonical_json({Color.RED: (Color.RED, Number.TWO)}) == b'{"red":["red",2]}'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "numbers must be finite; got nan"),
        ({"a": [1, math.inf]}, r"numbers must be finite; got inf at the value\.a\[1\]"),
        ({1: 2}, "keys must be text; got int 1"),
        ({None: 2}, "keys must be text; got null"),
        ({"a": {1, 2}}, r"holds text, numbers, .*; got set"),
        (b"bytes", "got bytes"),
        (np.float32(1), "got float32"),
        ("\ud800", "lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        pytest.param(10**5000, "at most 4300 digits", id="long"),
    ],
)
def test_what_has_no_canonical_json_is_refused(value, message):
    with pytest.raises(InputError, match=message):
        canonical_json(value)


def test_a_value_within_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(InputError, match="nested at most 64 deep"):
        canonical_json(value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must be JSON; got an error at line 1"),
        (b'{"a": 1,\n "b": }', "got an error at line 2"),
        (b"[1]", "must be a JSON object; got list"),
        (b"null", "must be a JSON object; got null"),
        (b'{"a": NaN}', "numbers must be finite, got NaN"),
        (b'{"a": -Infinity}', "numbers must be finite, got -Infinity"),
        (b'{"a": 1e999}', "numbers must be finite; got inf"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' is given twice"),
        (b'{"a": "\xff"}', "must be JSON in UTF-8; got other bytes at position 7"),
        (b"[" * 100_000, "nested at most 64 deep"),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", "nested at most 64 deep"),
        (b'{"a": ' + b"1" * 5000 + b"}", "must be plain JSON"),
    ],
)
def test_json_that_cannot_be_used(data, message):
    with pytest.raises(FormatError, match="^the file x must") as caught:
        load_json(data, "the file x")
    assert message in str(caught.value)


# Manifests


@given(manifest=model_manifests() | copy_manifests)
def test_round_trip(manifest):
    data = manifest.to_dict()
    again = type(manifest).from_dict(data)
    assert again == manifest
    assert again.to_dict() == data
    assert again.digest == manifest.digest == digest(data)
    stored = load_json(canonical_json(data), "it")
    assert type(manifest).from_dict(stored) == manifest
    assert hash(again) == hash(manifest)


@pytest.mark.parametrize("manifest", [MODEL, COPY])
def test_from_dict_leaves_its_argument_and_to_dict_the_manifest(manifest):
    data = manifest.to_dict()
    before = copy.deepcopy(data)
    again = type(manifest).from_dict(data)
    assert data == before
    for value in data.values():  # what the caller changes later must not reach the manifest
        if isinstance(value, dict):
            value["changed"] = "x"
        if isinstance(value, list):
            value.append("x")
    assert again == manifest
    assert again.digest == manifest.digest


@pytest.mark.parametrize("manifest", [MODEL, COPY])
def test_the_arguments_are_copied(manifest):
    mine = {"deep": [1]}
    made = replace(manifest, extra=mine)
    before = made.digest
    mine["deep"].append(2)
    made.to_dict()["deep"].append(3)
    assert made.digest == before


@pytest.mark.parametrize("manifest", [MODEL, COPY])
def test_every_field_counts_in_the_digest(manifest):
    changes = {
        "name": "other", "architecture": "vgg11", "arguments": {}, "input_shape": (3, 32, 33), "bounds": Bounds(-1, 1),
        "labels": ("a", "b"), "mean": (0, 0, 0), "std": (1, 1, 1), "outputs": "probabilities",
        "weights_digest": "sha256:" + "11" * 32, "files": {"w": "11" * 32}, "extra": {},
        "copy_id": "other", "model": "other", "model_digest": "sha256:" + "11" * 32, "rewriter": "other",
        "spec": {}, "spec_digest": "sha256:" + "11" * 32, "buyer": "other", "epoch": 2,
        "issued_at": "2026-01-31T12:00:01Z",
    }  # fmt: skip
    fields = [name for name in type(manifest).__dataclass_fields__ if name != "format"]
    found = {replace(manifest, **{name: changes[name]}).digest for name in fields}
    assert len(found | {manifest.digest}) == len(fields) + 1


def test_the_same_numbers_have_the_same_digest():
    whole = replace(MODEL, bounds=Bounds(0, 1), mean=[0, 0, 0], std=[1, 1, 1], input_shape=[3, 32, 32])
    floats = replace(MODEL, bounds=Bounds(0.0, 1.0), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    assert whole == floats
    assert whole.digest == floats.digest


def test_unknown_fields_are_kept():
    data = {**COPY.to_dict(), "added_in_2030": {"deep": [1, {"a": None}]}}
    manifest = CopyManifest.from_dict(data)
    assert manifest.extra["added_in_2030"] == {"deep": [1, {"a": None}]}
    assert manifest.to_dict() == data


def test_golden_digests():
    # Frozen: keys are derived from the model's digest.
    assert MODEL.digest == "sha256:f08ae0651a466710f3b0d6e512f32c9080a58a46ce97d41517b03790b8a5c54e"
    assert COPY.digest == "sha256:2424e277fc2dfd4595923b999c46e685495fba81918c14426a2350e91acfef61"


@pytest.mark.parametrize("manifest", [MODEL, COPY])
def test_a_manifest_is_frozen(manifest):
    with pytest.raises(FrozenInstanceError):
        manifest.extra = {}


# A user's mistakes


@pytest.mark.parametrize(
    ("field", "bad", "message"),
    [
        ("architecture", "os; rm", "architecture must be a catalog name or module:factory; got str 'os; rm'"),
        ("architecture", "../x:y", "architecture must be"),
        ("architecture", 3, "architecture must be text of 1 to 1024 characters; got int 3"),
        ("arguments", [], "arguments must be a JSON object; got list"),
        ("arguments", {"a": [1]}, "arguments must be a mapping to numbers, text or booleans; got list"),
        ("arguments", {"a": math.nan}, "arguments cannot be written: JSON numbers must be finite"),
        ("arguments", {1: 1}, "arguments cannot be written: JSON keys must be text"),
        ("input_shape", (), "input_shape must be one size or more"),
        ("input_shape", (3, 0), "input_shape must be an integer from 1 up to .*; got int 0"),
        ("input_shape", (3, 1.0), "input_shape must be an integer from 1 up to .*; got float 1.0"),
        ("input_shape", (True, 2), "input_shape must be an integer"),
        pytest.param("input_shape", (3, 1 << 5000), "input_shape must be .*; got int of 5001 bits", id="long"),
        ("input_shape", "33", "input_shape must be a list; got str '33'"),
        ("bounds", (0, 1), "bounds must be a lower and an upper number; got tuple"),
        ("labels", ("one",), "labels must be two class names or more; got tuple"),
        ("labels", ("a", ""), "labels must be text of 1 to 1024 characters; got str ''"),
        ("labels", ("a", 2), "labels must be text"),
        ("labels", "ab", "labels must be a list; got str 'ab'"),
        ("mean", (0.5,), "mean must be null or 3 numbers, one per channel; got tuple"),
        ("mean", (0.5, math.nan, 0), "mean must be finite numbers; got float nan"),
        ("mean", (0, 0, 10**400), "mean must be finite numbers"),
        ("mean", (0, 0, False), "mean must be finite numbers; got bool False"),
        ("mean", None, "std must be null exactly when mean is null"),
        ("std", (0.2, 0.0, 0.2), "std must be null or 3 positive numbers"),
        ("std", None, "std must be null exactly when mean is null"),
        ("outputs", "scores", "outputs must be 'logits' or 'probabilities'; got str 'scores'"),
        ("weights_digest", "ab" * 32, "weights_digest must be 'sha256:' and 64 hexadecimal digits"),
        ("weights_digest", None, "weights_digest must be .*; got null"),
        ("files", {}, "files must be a mapping from file names to SHA-256"),
        ("files", {"../w": "ab" * 32}, "files must be named by relative paths"),
        ("files", {"/w": "ab" * 32}, "files must be named by relative paths"),
        ("files", {"a//w": "ab" * 32}, "files must be named by relative paths"),
        ("files", {"a\\w": "ab" * 32}, "files must be named by relative paths"),
        ("files", {".hidden": "ab" * 32}, "files must be named by relative paths"),
        ("files", {"w\n": "ab" * 32}, "files must be named by relative paths"),
        ("files", {"w": "AB" * 32}, "files must be SHA-256 in 64 hexadecimal digits for w"),
        ("files", {"w": None}, "files must be SHA-256 in 64 hexadecimal digits for w; got null"),
        ("format", 2, "format must be 1; got int 2: it needs another version"),
        ("format", True, "format must be 1; got bool True"),
        ("format", "1", "format must be 1; got str '1'"),
        ("extra", {"name": 1}, "extra fields must have other names than its own; got name"),
        ("extra", {"kind": 1}, "extra fields must have other names than its own; got kind"),
        ("extra", {"a": object()}, "extra cannot be written: JSON holds text"),
        ("extra", [], "extra must be a JSON object; got list"),
    ],
)
def test_a_model_manifest_refuses(field, bad, message):
    with pytest.raises(FormatError, match=message):
        replace(MODEL, **{field: bad})


@pytest.mark.parametrize("bad", ["", "-x", "a b", "a/b", "x" * 129])
@pytest.mark.parametrize(
    ("manifest", "field"),
    [(MODEL, "name"), (COPY, "copy_id"), (COPY, "model"), (COPY, "rewriter"), (COPY, "buyer")],
)
def test_identifiers_are_checked(manifest, field, bad):
    with pytest.raises((ConfigurationError, FormatError), match="must be"):
        replace(manifest, **{field: bad})


@pytest.mark.parametrize(
    ("field", "bad", "message"),
    [
        ("model_digest", "x", "model_digest must be 'sha256:' and 64 hexadecimal digits; got str 'x'"),
        ("spec_digest", DIGEST + "0", "spec_digest must be"),
        ("spec", [], "spec must be a JSON object; got list"),
        ("spec", {"a": math.inf}, "spec cannot be written: JSON numbers must be finite"),
        ("epoch", -1, "epoch must be an integer from 0 up to .*; got int -1"),
        ("epoch", 1.0, "epoch must be an integer"),
        ("epoch", False, "epoch must be an integer"),
        ("issued_at", "2026-01-31 12:00:00", "issued_at must be a time in UTC such as 2026-01-31T12:00:00Z"),
        ("issued_at", "2026-01-31T12:00:00+01:00", "issued_at must be a time in UTC"),
        ("issued_at", "2026-02-31T12:00:00Z", "issued_at must be a time in UTC"),
        ("issued_at", 1700000000, "issued_at must be a time in UTC .*; got int 1700000000"),
        ("format", 0, "format must be 1; got int 0"),
    ],
)
def test_a_copy_manifest_refuses(field, bad, message):
    with pytest.raises(FormatError, match=message):
        replace(COPY, **{field: bad})


@pytest.mark.parametrize("manifest", [MODEL, COPY])
def test_from_dict_names_what_is_missing(manifest):
    for name in type(manifest).__dataclass_fields__.keys() - {"extra", "format"}:
        data = manifest.to_dict()
        del data[name]
        with pytest.raises(FormatError, match=f"lacks {name}; expected"):
            type(manifest).from_dict(data)


@pytest.mark.parametrize("manifest", [MODEL, COPY])
def test_from_dict_refuses_other_records(manifest):
    cls = type(manifest)
    with pytest.raises(FormatError, match="must be a JSON object; got list"):
        cls.from_dict([])
    with pytest.raises(FormatError, match=r'must say "kind": "(model|copy)"; got str \'replication\''):
        cls.from_dict({**manifest.to_dict(), "kind": "replication"})
    with pytest.raises(FormatError, match=r'must say "kind": "(model|copy)"; got null'):
        cls.from_dict({})
    with pytest.raises(FormatError, match="format must be 1; got int 2: it needs another version of variegate"):
        cls.from_dict({"kind": manifest.to_dict()["kind"], "format": 2})


def test_from_dict_refuses_bad_bounds():
    for bad in ([0], [0, 1, 2], "01", [0, "1"]):
        with pytest.raises(FormatError, match="bounds must be"):
            ModelManifest.from_dict({**MODEL.to_dict(), "bounds": bad})
    with pytest.raises(ConfigurationError, match="bounds must be two finite numbers"):
        ModelManifest.from_dict({**MODEL.to_dict(), "bounds": [1, 0]})
