import copy
import hashlib
import json
import math
from enum import IntEnum, StrEnum
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.raising import raises
from variegate.errors import ConfigurationError, FormatError, InputError
from variegate.manifest import CopyManifest, ModelManifest, canonical_json, digest, load_json
from variegate.manifest.document import Count, Document, Identifier, Many, Part, known_format
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
    ("value", "named"),
    [
        (math.nan, ["nan"]),
        ({"a": [1, math.inf]}, ["inf", ".a[1]"]),
        ({1: 2}, ["keys", "int 1"]),
        ({None: 2}, ["keys", "null"]),
        ({"a": {1, 2}}, ["set", ".a"]),
        (b"bytes", ["bytes"]),
        (np.float32(1), ["float32"]),
        ("\ud800", ["surrogate"]),
        ({"\ud800": 1}, ["surrogate"]),
        pytest.param(10**5000, ["4300"], id="long"),
    ],
)
def test_what_has_no_canonical_json_is_refused(value, named):
    with raises(InputError, *named):
        canonical_json(value)


def test_a_value_within_itself_is_refused():
    value = []
    value.append(value)
    with raises(InputError, "64"):
        canonical_json(value)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", ["line 1"]),
        (b'{"a": 1,\n "b": }', ["line 2"]),
        (b"[1]", ["object", "list"]),
        (b"null", ["object", "null"]),
        (b'{"a": NaN}', ["NaN"]),
        (b'{"a": -Infinity}', ["-Infinity"]),
        (b'{"a": 1e999}', ["inf"]),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', ["'c'"]),
        (b'{"a": "\xff"}', ["UTF-8", "position 7"]),
        (b"[" * 100_000, ["64"]),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", ["64"]),
        (b'{"a": ' + b"1" * 5000 + b"}", ["digits"]),
    ],
)
def test_json_that_cannot_be_used(data, named):
    with raises(FormatError, "the file x", *named):
        load_json(data, "the file x")


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
    made = manifest.changed(extra=mine)
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
    fields = [name for name in type(manifest).model_fields if name != "format"]
    found = {manifest.changed(**{name: changes[name]}).digest for name in fields}
    assert len(found | {manifest.digest}) == len(fields) + 1


def test_the_same_numbers_have_the_same_digest():
    whole = MODEL.changed(bounds=Bounds(0, 1), mean=[0, 0, 0], std=[1, 1, 1], input_shape=[3, 32, 32])
    floats = MODEL.changed(bounds=Bounds(0.0, 1.0), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
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
    with pytest.raises(ValidationError):
        manifest.extra = {}


# A user's mistakes


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("architecture", "os; rm"),
        ("architecture", "../x:y"),
        ("architecture", 3),
        ("arguments", []),
        ("arguments", {"a": [1]}),
        ("arguments", {"a": math.nan}),
        ("arguments", {1: 1}),
        ("input_shape", ()),
        ("input_shape", (3, 0)),
        ("input_shape", (3, 1.0)),
        ("input_shape", (True, 2)),
        pytest.param("input_shape", (3, 1 << 5000), id="long"),
        ("input_shape", "33"),
        ("bounds", (0, 1)),
        ("labels", ("one",)),
        ("labels", ("a", "")),
        ("labels", ("a", 2)),
        ("labels", "ab"),
        ("mean", (0.5,)),
        ("mean", (0.5, math.nan, 0)),
        ("mean", (0, 0, 10**400)),
        ("mean", (0, 0, False)),
        ("mean", None),
        ("std", (0.2, 0.0, 0.2)),
        ("std", None),
        ("outputs", "scores"),
        ("weights_digest", "ab" * 32),
        ("weights_digest", None),
        ("files", {}),
        ("files", {"../w": "ab" * 32}),
        ("files", {"/w": "ab" * 32}),
        ("files", {"a//w": "ab" * 32}),
        ("files", {"a\\w": "ab" * 32}),
        ("files", {".hidden": "ab" * 32}),
        ("files", {"w\n": "ab" * 32}),
        ("files", {"w": "AB" * 32}),
        ("files", {"w": None}),
        ("format", 2),
        ("format", True),
        ("format", "1"),
        ("extra", {"name": 1}),
        ("extra", {"kind": 1}),
        ("extra", {"a": object()}),
        ("extra", []),
    ],
)
def test_a_model_manifest_refuses(field, bad):
    with raises(FormatError, field):
        MODEL.changed(**{field: bad})


@pytest.mark.parametrize("bad", ["", "-x", "a b", "a/b", "x" * 129])
@pytest.mark.parametrize(
    ("manifest", "field"),
    [(MODEL, "name"), (COPY, "copy_id"), (COPY, "model"), (COPY, "rewriter"), (COPY, "buyer")],
)
def test_identifiers_are_checked(manifest, field, bad):
    with raises((ConfigurationError, FormatError), field):
        manifest.changed(**{field: bad})


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("model_digest", "x"),
        ("spec_digest", DIGEST + "0"),
        ("spec", []),
        ("spec", {"a": math.inf}),
        ("epoch", -1),
        ("epoch", 1.0),
        ("epoch", False),
        ("issued_at", "2026-01-31 12:00:00"),
        ("issued_at", "2026-01-31T12:00:00+01:00"),
        ("issued_at", "2026-02-31T12:00:00Z"),
        ("issued_at", 1700000000),
        ("format", 0),
    ],
)
def test_a_copy_manifest_refuses(field, bad):
    with raises(FormatError, field):
        COPY.changed(**{field: bad})


@pytest.mark.parametrize("manifest", [MODEL, COPY])
def test_from_dict_names_what_is_missing(manifest):
    for name in type(manifest).model_fields.keys() - {"extra", "format"}:
        data = manifest.to_dict()
        del data[name]
        with raises(FormatError, name):
            type(manifest).from_dict(data)


@pytest.mark.parametrize("manifest", [MODEL, COPY])
def test_from_dict_refuses_other_records(manifest):
    cls = type(manifest)
    with raises(FormatError, "object", "list"):
        cls.from_dict([])
    with raises(FormatError, "kind", cls.KIND, "replication"):
        cls.from_dict({**manifest.to_dict(), "kind": "replication"})
    with raises(FormatError, "kind", cls.KIND, "null"):
        cls.from_dict({})
    with raises(FormatError, "format", "2", "version of variegate"):
        cls.from_dict({"kind": manifest.to_dict()["kind"], "format": 2})


def test_from_dict_refuses_bad_bounds():
    for bad in ([0], [0, 1, 2], "01", [0, "1"]):
        with raises(FormatError, "bounds"):
            ModelManifest.from_dict({**MODEL.to_dict(), "bounds": bad})
    with raises(ConfigurationError, "bounds"):
        ModelManifest.from_dict({**MODEL.to_dict(), "bounds": [1, 0]})


# Documents


class Inner(Part):
    counts: Many[Count]


class Whole(Document):
    DOCUMENT = "a whole"
    format: Annotated[int, known_format(2)] = 2
    part: Inner
    name: Identifier = "x"


def test_an_error_names_the_document_and_the_path_of_each_field():
    assert Whole(part=Inner(counts=[1])) == Whole(part={"counts": (1,)})
    with raises(FormatError, "a whole", "part.counts[1]", "part.other", "more"):
        Whole(part={"counts": [0, -1, True], "other": 1}, name=3, more=4)
    with raises(FormatError, "a whole", "part is missing"):
        Whole()
    with raises(FormatError, "a whole", "part.counts must", "str 'x'"):
        Whole(part={"counts": "x"})


def test_a_document_of_another_format_says_so_first():
    with raises(FormatError, "format must be 2", "version of variegate"):
        Whole(format=3, part=1, a=1, b=2, c=3)


def test_a_changed_document_is_checked():
    whole = Whole(part=Inner(counts=[1]))
    assert whole.changed(name="y").name == "y"
    with raises(FormatError, "format"):
        whole.changed(format=1)
