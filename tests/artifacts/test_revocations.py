import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.artifacts.sold_copies import CREATED, KEY, LOG
from tests.raising import raises
from variegate.artifacts import revocations
from variegate.artifacts.revocations import read_revocations, sign_revocations
from variegate.errors import ConfigurationError, VerificationError
from variegate.keys import SellerSecret
from variegate.manifest import canonical_json
from variegate.signing import key_digest, sign, signing_key

COPIES = ("vg1-" + "1" * 20, "vg1-" + "0" * 20)
PUBLIC = KEY.public_key()
DATA = sign_revocations(COPIES, KEY, issued_at=CREATED, next_update=CREATED + 60, log=LOG)
GOLDEN = Path(__file__).parents[1] / "golden" / "revocations-v1.json"


def test_what_is_signed_is_read():
    listed = read_revocations(DATA, PUBLIC)
    assert listed.copies == frozenset(COPIES)
    assert (listed.issued_at, listed.next_update, listed.log) == (CREATED, CREATED + 60, LOG)
    assert listed.signing_key == key_digest(KEY)
    nobody = read_revocations(sign_revocations((), KEY, issued_at=CREATED, next_update=CREATED + 60, log=LOG), PUBLIC)
    assert nobody.copies == frozenset()


def test_the_vector_of_the_format():
    listed = read_revocations(GOLDEN.read_bytes(), PUBLIC)
    assert listed == read_revocations(DATA, PUBLIC)
    envelope, mine = json.loads(GOLDEN.read_bytes()), json.loads(DATA)
    assert (envelope["payload"], envelope["payloadType"]) == (mine["payload"], mine["payloadType"])


@settings(max_examples=200)
@given(data=st.data())
def test_every_byte_counts(data):
    place, byte = data.draw(st.integers(0, len(DATA) - 1)), bytes([data.draw(st.integers(0, 255))])
    kind = data.draw(st.sampled_from(["replace", "insert", "cut"]))
    changed = DATA[:place] + (b"" if kind == "cut" else byte + DATA[place + (kind == "replace") :])
    if changed != DATA:
        with pytest.raises(VerificationError):
            read_revocations(changed, PUBLIC)


@pytest.mark.parametrize("junk", [b"", b"[]", b"{}", b"\xff", b'{"payload":1,"signatures":[{}]}'])
def test_junk(junk):
    with raises(VerificationError, "revoked copies"):
        read_revocations(junk, PUBLIC)


def test_another_key():
    other = signing_key(SellerSecret.from_bytes(bytes(32)))
    with raises(VerificationError, "key"):
        read_revocations(DATA, other.public_key())
    payload = base64.b64decode(json.loads(DATA)["payload"])
    forged = revocations._spell(key_digest(KEY), payload, sign(other, revocations._PAYLOAD_TYPE, payload))
    with raises(VerificationError, "key"):
        read_revocations(forged, PUBLIC)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "format"),
        ({"kind": "copy"}, "kind"),
        ({"signing_key": "sha256:" + "00" * 32}, "signing key"),
        ({"copies": [1]}, "copies"),
        ({"copies": None}, "copies"),
        ({"copies": ["not a name"]}, "copies"),
        ({"issued_at": 3}, "issued_at"),
        ({"log": None}, "log"),
        ({"log": {"seq": 1, "hash": "x"}}, "hash"),
    ],
)
def test_a_rightly_signed_list_of_another_form(changes, said):
    payload = canonical_json(json.loads(base64.b64decode(json.loads(DATA)["payload"])) | changes)
    data = revocations._spell(key_digest(KEY), payload, sign(KEY, revocations._PAYLOAD_TYPE, payload))
    with raises(VerificationError, said):
        read_revocations(data, PUBLIC)


def test_what_cannot_be_listed():
    with raises(ConfigurationError, "next"):
        sign_revocations((), KEY, issued_at=CREATED, next_update=CREATED, log=LOG)
    with raises(ConfigurationError, "copies"):
        sign_revocations(("a b",), KEY, issued_at=CREATED, next_update=CREATED + 1, log=LOG)
