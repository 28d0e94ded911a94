"""A secret that a token's key encrypts, with SoftHSM as the token."""

import sys
from contextlib import contextmanager
from threading import Thread

import pytest

from tests.keystore.conftest import MODULE, PIN
from tests.raising import raises
from variegate.errors import ConfigurationError, SecretError, VariegateError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access
from variegate.keystore.pkcs11 import WRAPPED_BYTES, Pkcs11
from variegate.keystore.pkcs11_token import Settings, open_token, read_settings

SECRET = SellerSecret.from_bytes(bytes(range(32)))
NAME = SECRET.identifier


def store(token, secret=SECRET, **changed):
    return Pkcs11().store(secret, Access(env=token | changed))


def fetch(token, blob, **changed):
    return Pkcs11().fetch(blob, identifier=NAME, access=Access(env=token | changed))


@contextmanager
def logged_in(token):
    with open_token(read_settings(Access(env=token)), write=True) as session:
        yield session


def keys_of(token):
    import pkcs11

    with logged_in(token) as session:
        return [
            {"label": key.label, "id": key.id, "bits": key.key_length}
            | {a.name: key[a] for a in (pkcs11.Attribute.SENSITIVE, pkcs11.Attribute.EXTRACTABLE)}
            for key in session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY})
        ]


def test_what_is_stored_is_fetched(token):
    blob = store(token)
    assert len(blob) == WRAPPED_BYTES == 103
    assert SECRET.reveal() not in blob
    assert fetch(token, blob) == SECRET


def test_the_format_is_what_the_docstring_says(token):
    import pkcs11

    blob = store(token)
    (key,) = keys_of(token)
    assert blob[:11] == b"VGPKCS11\x01\x01\x10"
    assert blob[11:43] == key["id"] + bytes(16)
    with logged_in(token) as session:
        key = session.get_key(label="variegate")
        parameters = pkcs11.GCMParams(blob[43:55], blob[:55], 128)
        plain = key.decrypt(blob[55:], mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=parameters)
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]
    assert plain == SECRET.reveal()


def test_the_key_is_made_once_and_cannot_leave(token):
    other = SellerSecret.from_bytes(bytes(32))
    first, second, third = store(token), store(token, other), store(token)
    (key,) = keys_of(token)
    assert key | {"id": b""} == {
        "label": "variegate",
        "id": b"",
        "bits": 256,
        "SENSITIVE": True,
        "EXTRACTABLE": False,
    }
    assert first[43:] != third[43:]
    assert fetch(token, second) == other
    assert fetch(token, first) == fetch(token, third) == SECRET


def test_another_label_is_another_key(token):
    first, second = store(token), store(token, VARIEGATE_PKCS11_KEY="shop")
    assert sorted(key["label"] for key in keys_of(token)) == ["shop", "variegate"]
    assert first[11:43] != second[11:43]
    assert fetch(token, first, VARIEGATE_PKCS11_KEY="anything") == fetch(token, second) == SECRET


def test_a_pin_from_a_file_and_from_a_person(token, tmp_path):
    (tmp_path / "pin").write_text(f"{PIN}\n")
    rest = {name: value for name, value in token.items() if name != "VARIEGATE_PKCS11_PIN"}
    blob = store(rest, VARIEGATE_PKCS11_PIN_FILE=str(tmp_path / "pin"))
    asked = []
    access = Access(env=rest, prompt=lambda question: asked.append(question) or PIN)
    assert Pkcs11().fetch(blob, identifier=NAME, access=access) == SECRET
    assert asked == [f"PIN of the token {token['VARIEGATE_PKCS11_TOKEN']}: "]


def test_a_change_of_any_byte_is_noticed(token):
    blob = store(token)
    for position in range(WRAPPED_BYTES):
        changed = bytearray(blob)
        changed[position] ^= 1
        with pytest.raises(SecretError):
            fetch(token, bytes(changed))


@pytest.mark.parametrize(
    ("blob", "named"),
    [
        (b"", ["home", "backup"]),
        (b"x", ["103 bytes", "VGPKCS11", "1 bytes"]),
        (b"VGPKCS11" + bytes(96), ["104 bytes"]),
        (b"VGPKCS11\x02\x01\x10" + bytes(92), ["format 1", "format 2 with 1"]),
        (b"VGPKCS11\x01\x07\x10" + bytes(92), ["format 1 with 7"]),
        (b"VGPKCS11\x01\x01\x00" + bytes(92), ["format 1"]),
        (b"VGPKCS11\x01\x01\x21" + bytes(92), ["format 1"]),
    ],
)
def test_other_blobs_are_refused_before_the_token_is_asked(blob, named):
    with raises(SecretError, *named):
        fetch({}, blob)


def test_a_removed_key(token):
    blob = store(token)
    with logged_in(token) as session:
        session.get_key(label="variegate").destroy()
    for again in (False, True):
        if again:  # a new key of the same label does not hide it
            store(token)
        with raises(SecretError, blob[11:27].hex(), NAME):
            fetch(token, blob)


def test_a_key_replaced_under_its_identifier(token):
    import pkcs11

    blob = store(token)
    with logged_in(token) as session:
        session.get_key(label="variegate").destroy()
        session.generate_key(pkcs11.KeyType.AES, 256, id=blob[11:27], label="variegate", store=True)
    with raises(SecretError, "file", "token"):
        fetch(token, blob)


@pytest.mark.parametrize("flaw", ["extractable", "not sensitive", "short", "nameless"])
def test_a_key_that_is_there_but_not_safe(token, flaw):
    import pkcs11

    template = {
        pkcs11.Attribute.EXTRACTABLE: flaw == "extractable",
        pkcs11.Attribute.SENSITIVE: flaw != "not sensitive",
    }
    bits, identifier = 128 if flaw == "short" else 256, None if flaw == "nameless" else b"id"
    with logged_in(token) as session:
        session.generate_key(pkcs11.KeyType.AES, bits, id=identifier, label="variegate", store=True, template=template)
    with raises(ConfigurationError, "variegate", "256"):
        store(token)
    assert fetch(token, store(token, VARIEGATE_PKCS11_KEY="other")) == SECRET


def test_a_seller_s_own_key_is_taken(token):
    import pkcs11

    with logged_in(token) as session:
        template = {pkcs11.Attribute.EXTRACTABLE: False, pkcs11.Attribute.SENSITIVE: True}
        session.generate_key(pkcs11.KeyType.AES, 256, id=b"\7", label="variegate", store=True, template=template)
    blob = store(token)
    assert blob[10:12] == b"\x01\x07"
    assert fetch(token, blob) == SECRET


def test_two_keys_of_one_label(token):
    import pkcs11

    with logged_in(token) as session:
        for identifier in (b"a", b"b"):
            session.generate_key(pkcs11.KeyType.AES, 256, id=identifier, label="variegate", store=True)
    with raises(ConfigurationError, "2", "variegate", "label"):
        store(token)


def test_a_wrong_pin_is_not_shown(token):
    blob = store(token)
    for call in (lambda: fetch(token, blob, VARIEGATE_PKCS11_PIN="4711-wrong"), lambda: store(token | WRONG)):
        with raises(SecretError, "desk", "PIN") as caught:
            call()
        assert "4711" not in str(caught.value)
    assert fetch(token, blob) == SECRET


WRONG = {"VARIEGATE_PKCS11_PIN": "4711-wrong"}


def test_no_such_token(token):
    with raises(ConfigurationError, "nowhere"):
        store(token, VARIEGATE_PKCS11_TOKEN="nowhere")


def test_two_tokens_of_one_label(token, softhsm):
    softhsm(token["VARIEGATE_PKCS11_TOKEN"])
    with raises(ConfigurationError, "label"):
        store(token)


def test_no_module(token, tmp_path):
    (tmp_path / "text.so").write_text("no library")
    for path in (tmp_path / "none.so", tmp_path / "text.so"):
        with raises(ConfigurationError, "VARIEGATE_PKCS11_MODULE"):
            store(token, VARIEGATE_PKCS11_MODULE=str(path))


def test_threads_take_turns(token):
    blob, got = store(token), []
    threads = [Thread(target=lambda: got.append(fetch(token, blob))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [SECRET] * 4


def test_somebody_else_in_this_process_is_logged_in(token):
    import pkcs11

    found = pkcs11.lib(str(MODULE)).get_token(token_label=token["VARIEGATE_PKCS11_TOKEN"])
    with found.open(user_pin=PIN), raises(SecretError, "logged in"):
        store(token)
    assert fetch(token, store(token)) == SECRET


# Without a token


@pytest.mark.parametrize(
    ("env", "error", "named"),
    [
        ({}, ConfigurationError, ["VARIEGATE_PKCS11_MODULE", "VARIEGATE_PKCS11_TOKEN"]),
        ({"VARIEGATE_PKCS11_MODULE": "x"}, ConfigurationError, ["VARIEGATE_PKCS11_TOKEN"]),
        (
            {"VARIEGATE_PKCS11_MODULE": "x", "VARIEGATE_PKCS11_TOKEN": "t"},
            SecretError,
            ["VARIEGATE_PKCS11_PIN_FILE"],
        ),
    ],
)
def test_missing_options(env, error, named):
    with raises(error, *named):
        store(env)


def test_the_package_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    monkeypatch.setitem(sys.modules, "pkcs11.exceptions", None)
    env = {"VARIEGATE_PKCS11_MODULE": "x", "VARIEGATE_PKCS11_TOKEN": "t", "VARIEGATE_PKCS11_PIN": "p"}
    with raises(ConfigurationError, "python-pkcs11"):
        store(env)


def test_settings_hide_the_pin():
    assert "4711" not in repr(Settings(module="m", token="t", pin="4711"))


def test_every_refusal_is_a_sentence():
    exceptions = pytest.importorskip("pkcs11.exceptions")
    from variegate.keystore.pkcs11_token import _refusal

    settings = Settings(module="m", token="t", pin="4711")
    kinds = [
        kind
        for kind in vars(exceptions).values()
        if isinstance(kind, type) and issubclass(kind, exceptions.PKCS11Error)
    ]
    assert len(kinds) > 50
    for kind in kinds:
        refusal = _refusal(kind(), settings)
        assert isinstance(refusal, VariegateError)
        assert "the token 't'" in str(refusal)
        assert "4711" not in str(refusal)
