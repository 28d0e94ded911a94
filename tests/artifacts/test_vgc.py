import json
import struct
from pathlib import Path

import pytest
import torch
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.artifacts.conftest import CHEAP
from tests.artifacts.sold_copies import noise, sell
from tests.raising import raises
from variegate.artifacts.vgc import open_copy, read_header, seal_copy
from variegate.artifacts.vgc_header import (
    KeyRecipient,
    PassphraseRecipient,
    read_recipient_key,
    read_recipient_public_key,
    start_of,
)
from variegate.errors import ConfigurationError, FormatError, SecretError, VerificationError
from variegate.manifest import canonical_json

DEVICE = X25519PrivateKey.from_private_bytes(bytes(range(32)))
TO_DEVICE = KeyRecipient(DEVICE.public_key())
TO_PHRASE = PassphraseRecipient(b"pass", CHEAP)
SOLD = sell()
GOLDEN = Path(__file__).parents[1] / "golden" / "vgc-v1.json"


def seal(sold=SOLD, *, recipient=TO_DEVICE, overlay=False):
    content = {"head": sold.copy.head} if overlay else {"key": sold.key}
    return seal_copy(sold.copy_manifest, sold.model_manifest, recipient=recipient, **content)


BLOB = seal()
PHRASE_BLOB = seal(recipient=TO_PHRASE)


@pytest.mark.parametrize("overlay", [False, True])
@pytest.mark.parametrize("recipient", [TO_DEVICE, TO_PHRASE], ids=["key", "passphrase"])
def test_what_is_sealed_gives_the_copy_back(recipient, overlay):
    blob = seal(recipient=recipient, overlay=overlay)
    opening = {"recipient_key": DEVICE} if recipient is TO_DEVICE else {"passphrase": b"pass"}
    opened = open_copy(blob, **opening)
    assert opened.copy_manifest == SOLD.copy_manifest
    assert opened.model_manifest == SOLD.model_manifest
    x = noise(50)
    copy = opened.copy(SOLD.copy.original)
    assert torch.equal(copy.scores(x), SOLD.copy.scores(x))
    assert SOLD.copy.predict(x).unique().numel() > 1
    assert (len(blob) < 3000) != overlay


@pytest.mark.parametrize(
    "spec",
    [
        {"rewriter": "spread_spectrum", "projection": "sparse"},
        {"rewriter": "qim", "projection": "hadamard", "messages_per_class": 4},
        {"rewriter": "permutation", "dummy_classes": 2},
        {"rewriter": "composed", "parts": [{"rewriter": "permutation"}, {"rewriter": "qim", "projection": "dense"}]},
    ],
    ids=lambda spec: spec["rewriter"],
)
def test_the_overlay_of_every_rewriter(spec):
    sold = sell(spec)
    opened = open_copy(seal(sold, overlay=True), recipient_key=DEVICE)
    x = noise(20)
    assert torch.equal(opened.copy(sold.copy.original).scores(x), sold.copy.scores(x))


def test_the_vector_of_the_format():
    vectors = json.loads(GOLDEN.read_text())
    key = X25519PrivateKey.from_private_bytes(bytes.fromhex(vectors["recipient_key"]))
    for blob, opening in [
        (vectors["to_key"], {"recipient_key": key}),
        (vectors["to_passphrase"], {"passphrase": vectors["passphrase"].encode()}),
    ]:
        opened = open_copy(bytes.fromhex(blob), **opening)
        assert opened.copy_manifest.to_dict() == vectors["copy"]
        assert opened.model_manifest.to_dict() == vectors["model"]
        assert opened._secret.hex() == vectors["copy_key"]


def test_nothing_secret_in_clear_or_in_a_repr():
    assert SOLD.key.reveal() not in BLOB
    assert SOLD.key.reveal().hex().encode() not in BLOB
    opened = open_copy(BLOB, recipient_key=DEVICE)
    assert repr(opened) == f"OpenedCopy({SOLD.copy_manifest.copy_id}, key)"
    assert "pass'" not in repr(TO_PHRASE)
    assert b"quantization_step" not in BLOB


def test_sealing_twice_gives_different_bytes_and_one_header():
    again = seal()
    assert again != BLOB
    first, second = read_header(BLOB), read_header(again)
    assert first.copy_id == second.copy_id == SOLD.copy_manifest.copy_id
    assert first.recipient.ephemeral != second.recipient.ephemeral


def test_another_key_or_passphrase():
    with raises(SecretError, "key"):
        open_copy(BLOB, recipient_key=X25519PrivateKey.generate())
    with raises(SecretError, "passphrase"):
        open_copy(PHRASE_BLOB, passphrase=b"Pass")
    with raises(SecretError, "passphrase"):
        open_copy(BLOB, passphrase=b"pass")
    with raises(SecretError, "passphrase"):
        open_copy(PHRASE_BLOB, recipient_key=DEVICE)
    with raises(SecretError, "passphrase"):
        open_copy(PHRASE_BLOB, passphrase=b"")
    for opening in ({}, {"recipient_key": DEVICE, "passphrase": b"pass"}):
        with raises(ConfigurationError, "one"):
            open_copy(BLOB, **opening)


def test_every_truncation():
    for length in range(len(BLOB)):
        with pytest.raises((FormatError, SecretError)):
            open_copy(BLOB[:length], recipient_key=DEVICE)


@settings(max_examples=300)
@given(data=st.data())
def test_every_byte_counts(data):
    place, byte = data.draw(st.integers(0, len(BLOB) - 1)), data.draw(st.integers(1, 255))
    changed = BLOB[:place] + bytes([BLOB[place] ^ byte]) + BLOB[place + 1 :]
    with pytest.raises((FormatError, SecretError)) as caught:
        open_copy(changed, recipient_key=DEVICE)
    assert "\n" not in str(caught.value)


@settings(max_examples=60)
@given(place=st.integers(0, len(PHRASE_BLOB) - 1), bit=st.integers(0, 7))
def test_every_byte_counts_under_a_passphrase(place, bit):
    changed = PHRASE_BLOB[:place] + bytes([PHRASE_BLOB[place] ^ (1 << bit)]) + PHRASE_BLOB[place + 1 :]
    with pytest.raises((FormatError, SecretError)):
        open_copy(changed, passphrase=b"pass")


@given(junk=st.binary(max_size=200))
def test_junk(junk):
    for blob in (junk, b"VGCOPY" + junk, b"VGCOPY\0\1" + junk, b"VGCOPY\0\1" + struct.pack(">I", len(junk)) + junk):
        with pytest.raises(FormatError):
            open_copy(blob, recipient_key=DEVICE)


def _with_header(blob=BLOB, **changes):
    values = read_header(blob).model_dump(mode="json")
    data = canonical_json(values | changes)
    return struct.pack(">6sHI", b"VGCOPY", 1, len(data)) + data + blob[len(start_of(read_header(blob))) :]


@pytest.mark.parametrize(
    "recipient",
    [
        {"type": "rsa"},
        {"type": "x25519"},
        {"type": "x25519", "ephemeral": "00" * 31, "wrapped": "00" * 48},
        {"type": "x25519", "ephemeral": "AB" * 32, "wrapped": "00" * 48},
        {"type": "x25519", "ephemeral": "00" * 32, "wrapped": "00" * 48},
        {"type": "x25519", "ephemeral": "ab" * 32, "wrapped": "00" * 48, "more": 1},
    ],
)
def test_malformed_recipients(recipient):
    with pytest.raises((FormatError, SecretError)):
        open_copy(_with_header(recipient=recipient), recipient_key=DEVICE)


@pytest.mark.parametrize(
    "change", [{"memory_kib": 2**21}, {"memory_kib": "8192"}, {"iterations": 17}, {"lanes": 0}, {"salt": "00"}]
)
def test_a_passphrase_costs_no_more_than_the_limits(change):
    blob = seal(recipient=TO_PHRASE)
    hostile = _with_header(blob, recipient=read_header(blob).recipient.model_dump() | change)
    with pytest.raises(FormatError):
        open_copy(hostile, passphrase=b"pass")


def test_newer_versions_and_contradictions():
    with raises(FormatError, "version"):
        open_copy(BLOB[:7] + b"\2" + BLOB[8:], recipient_key=DEVICE)
    with raises(SecretError, "changed"):
        open_copy(_with_header(buyer="mallory"), recipient_key=DEVICE)
    other = sell({"rewriter": "permutation"})
    with raises(ConfigurationError, "copy"):
        seal_copy(
            SOLD.copy_manifest,
            SOLD.model_manifest.changed(name="other"),
            recipient=TO_DEVICE,
            key=SOLD.key,
        )
    with raises(ConfigurationError, "spec"):
        seal_copy(
            SOLD.copy_manifest.changed(spec=other.copy_manifest.spec),
            SOLD.model_manifest,
            recipient=TO_DEVICE,
            key=SOLD.key,
        )
    with raises(ConfigurationError, "name"):
        seal_copy(SOLD.copy_manifest.changed(buyer="mallory"), SOLD.model_manifest, recipient=TO_DEVICE, key=SOLD.key)
    with raises(ConfigurationError, "one"):
        seal_copy(SOLD.copy_manifest, SOLD.model_manifest, recipient=TO_DEVICE)


def test_another_original_is_refused():
    opened = open_copy(BLOB, recipient_key=DEVICE)
    original = SOLD.copy.original
    stranger = type(original)(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), input_shape=(1, 8, 8), labels=10
    )
    with raises(VerificationError, "original"):
        opened.copy(stranger)
    other_bounds = sell(bounds=(0.0, 2.0)).copy.original
    with raises(VerificationError, "bounds"):
        opened.copy(other_bounds)


def test_keys_of_recipients_are_read_and_others_refused():
    private = DEVICE.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = DEVICE.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert read_recipient_key(private).private_bytes_raw() == DEVICE.private_bytes_raw()
    assert isinstance(read_recipient_public_key(public), X25519PublicKey)
    elliptic = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for pem in (b"", b"junk", private, elliptic):
        with raises(FormatError, "X25519"):
            read_recipient_public_key(pem)
    for pem in (b"", public):
        with raises(FormatError, "X25519"):
            read_recipient_key(pem)
