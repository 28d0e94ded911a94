import struct

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.raising import raises
from variegate.errors import ConfigurationError, SecretError
from variegate.keys import SellerSecret
from variegate.keystore import sealing
from variegate.keystore.sealing import SEALED_BYTES, SealingCost, seal, unseal

CHEAP = SealingCost(memory_kib=8192, iterations=1, lanes=1)
SECRET = SellerSecret.from_bytes(bytes(range(32)))
PASSPHRASE = b"correct horse battery staple"
# Frozen: sealed by hand below (test_the_format_is_what_the_docstring_says); files of version 1 open for ever.
GOLDEN = bytes.fromhex(
    "56475345414c45440101000020000000000100000001000102030405060708090a0b0c0d0e0f000102030405060708090a0b"
    "b556671204eaf69e0e47ff3ef6a2cded2a6ece326f812b26bb29a6d065a4b97b911872145c0940d198bfb03f9c78b8ce"
)


@pytest.fixture(scope="module")
def blob():
    return seal(SECRET, PASSPHRASE, cost=CHEAP)


def with_parameters(blob, **changed):
    names = ("memory_kib", "iterations", "lanes")
    values = dict(zip(names, struct.unpack(">III", blob[10:22]), strict=True)) | changed
    return blob[:10] + struct.pack(">III", *(values[name] for name in names)) + blob[22:]


@settings(max_examples=10)
@given(secret=st.binary(min_size=32, max_size=32), passphrase=st.binary(min_size=1, max_size=100))
def test_what_is_sealed_is_unsealed(secret, passphrase):
    secret = SellerSecret.from_bytes(secret)
    assert unseal(seal(secret, passphrase, cost=CHEAP), passphrase) == secret


def test_the_default_cost():
    sealed = seal(SECRET, PASSPHRASE)
    assert struct.unpack(">III", sealed[10:22]) == (64 * 1024, 3, 4)
    assert unseal(sealed, PASSPHRASE) == SECRET


def test_the_format_is_what_the_docstring_says():
    header = b"VGSEALED\x01\x01" + struct.pack(">III", 8192, 1, 1) + bytes(range(16)) + bytes(range(12))
    key = Argon2id(salt=bytes(range(16)), length=32, iterations=1, lanes=1, memory_cost=8192).derive(PASSPHRASE)
    assert header + AESGCM(key).encrypt(bytes(range(12)), bytes(range(32)), header) == GOLDEN
    assert unseal(GOLDEN, PASSPHRASE) == SECRET


def test_sealing_twice_gives_different_bytes(blob):
    again = seal(SECRET, PASSPHRASE, cost=CHEAP)
    assert len(blob) == len(again) == SEALED_BYTES == 98
    assert blob[22:38] != again[22:38]
    assert blob[38:50] != again[38:50]
    assert blob[50:] != again[50:]
    assert SECRET.reveal() not in blob


@pytest.mark.parametrize("position", range(SEALED_BYTES))
def test_a_change_of_any_byte_is_noticed(blob, position):
    for flip in (0x01, 0xFF) if position not in range(10, 22) else (0x03, 0xFF):
        changed = bytearray(blob)
        changed[position] ^= flip
        with pytest.raises(SecretError):
            unseal(bytes(changed), PASSPHRASE)


@pytest.mark.parametrize("wrong", [b"x", PASSPHRASE + b"\n", PASSPHRASE[:-1], PASSPHRASE.upper()])
def test_a_wrong_passphrase_is_said(blob, wrong):
    with raises(SecretError, "passphrase", "file") as caught:
        unseal(blob, wrong)
    assert "horse" not in str(caught.value).lower()
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("size", [0, 1, 49, 50, 97, 99, 10_000])
def test_other_lengths_are_refused(blob, size):
    data = (blob * 200)[:size]
    with raises(SecretError, "98 bytes", f"{size} bytes"):
        unseal(data, PASSPHRASE)


@pytest.mark.parametrize(("position", "value", "message"), [(8, 2, "format 2 with 1"), (9, 7, "format 1 with 7")])
def test_other_versions_are_refused(blob, position, value, message):
    changed = blob[:position] + bytes([value]) + blob[position + 1 :]
    with raises(SecretError, message, "version"):
        unseal(changed, PASSPHRASE)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"memory_kib": 2**32 - 1}, ["memory_kib", "8192..1048576", "4294967295"]),
        ({"memory_kib": 2**20 + 1}, ["memory_kib"]),
        ({"memory_kib": 0}, ["memory_kib"]),
        ({"iterations": 17}, ["iterations", "1..16", "17"]),
        ({"iterations": 2**32 - 1}, ["iterations"]),
        ({"iterations": 0}, ["iterations"]),
        ({"lanes": 17}, ["lanes", "1..16", "17"]),
        ({"lanes": 0}, ["lanes"]),
    ],
)
def test_hostile_parameters_are_refused_before_any_work(blob, monkeypatch, changed, named):
    def never(*args, **kwargs):
        pytest.fail("Argon2id was started")

    monkeypatch.setattr(sealing, "Argon2id", never)
    with raises(SecretError, *named):
        unseal(with_parameters(blob, **changed), PASSPHRASE)


@pytest.mark.parametrize(
    ("field", "bad"),
    [("memory_kib", 8191), ("memory_kib", 2**20 + 1), ("iterations", 0), ("lanes", 17), ("lanes", 1.0)],
)
def test_a_cost_out_of_the_limits_is_refused(field, bad):
    with raises(ConfigurationError, field, str(bad)):
        SealingCost(**{field: bad})


def test_an_empty_passphrase_is_refused(blob):
    for call in (lambda: seal(SECRET, b"", cost=CHEAP), lambda: unseal(blob, b"")):
        with raises(SecretError, "passphrase"):
            call()


@pytest.mark.parametrize(
    ("error", "named"),
    [(UnsupportedAlgorithm("no"), ["Argon2id", "install"]), (MemoryError(), ["memory", "8192 KiB"])],
)
def test_what_the_machine_lacks_is_said(blob, monkeypatch, error, named):
    def fail(**kwargs):
        raise error

    monkeypatch.setattr(sealing, "Argon2id", fail)
    with raises(SecretError, *named):
        unseal(blob, PASSPHRASE)
