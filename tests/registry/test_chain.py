"""The log's arithmetic is a format: known answers, and the same bytes as canonical JSON."""

import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raising import raises
from tests.registry.conftest import make_row
from variegate.errors import InputError
from variegate.manifest import canonical_json
from variegate.registry.copies import number_of_key, text_of_key
from variegate.registry.log import ZERO, copy_line, event_hash, lines_digest, salt_digest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def test_hash_of_an_entry():
    content = (
        b'{"at":1790000000,"body":{"a":[1,"\xc3\xa9"]},"kind":"issued","previous":"' + ZERO.encode() + b'","seq":1}'
    )
    hashed = event_hash(seq=1, at=1_790_000_000, kind="issued", body={"a": [1, "é"]}, previous=ZERO)
    assert hashed == "sha256:" + hashlib.sha256(b"variegate-event-v1\0" + content).hexdigest()
    assert hashed == "sha256:dcd0157f30430a0c4e2fb062f456f3dc49bc8dcd1156fe6ff233c79df08f7861"


def test_digest_of_a_salt():
    content = b"variegate-salt-v1\0vg1-00\0" + bytes(range(16))
    assert salt_digest("vg1-00", bytes(range(16))) == "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "changes", [{"seq": 2}, {"at": 1}, {"kind": "x"}, {"body": {}}, {"previous": "sha256:1"}], ids=str
)
def test_every_field_counts(changes):
    fields = {"seq": 1, "at": 0, "kind": "issued", "body": {"a": 1}, "previous": ZERO}
    assert event_hash(**fields) != event_hash(**(fields | changes))


@given(
    TEXT,
    TEXT,
    st.none() | TEXT,
    st.integers(0, 2**31),
    st.booleans(),
    st.none() | st.integers(0, 2**63),
    st.none() | st.text("0123456789abcdef", min_size=16, max_size=16),
)
def test_a_copy_is_one_line_of_canonical_json(buyer, copy_id, policy, number, flag, expires_at, key):
    row = dataclasses.replace(
        make_row("b"),
        buyer=buyer,
        copy_id=copy_id,
        policy=policy,
        epoch=number,
        draw=number,
        salted=flag,
        expires_at=expires_at,
        key_identifier=key,
    )
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(row) if field.name != "status"}
    assert copy_line(row) == canonical_json(fields)


def test_a_lone_surrogate_has_no_line():
    with raises(InputError, "surrogate", "lone"):
        copy_line(dataclasses.replace(make_row("b"), buyer="b\ud800"))


def test_digest_of_lines():
    assert lines_digest([b"a", b"b"]) == "sha256:" + hashlib.sha256(b"a\nb\n").hexdigest()


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_of_keys(number):
    assert number_of_key(text_of_key(number)) == number


def test_known_numbers_of_keys():
    assert [number_of_key(text) for text in (None, "0" * 16, "f" * 16, "8" + "0" * 15)] == [None, 0, -1, -(2**63)]
