import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keys_reference import hkdf
from tests.raising import raises
from variegate import signing
from variegate.errors import FormatError, InputError, NotFoundError, VerificationError
from variegate.keys import SellerSecret
from variegate.manifest import canonical_json
from variegate.signing import bundle as bundles

SECRET = SellerSecret.from_bytes(bytes(range(32)))
KEY = signing.signing_key(SECRET)
PUBLIC = KEY.public_key()
OTHER = signing.signing_key(SellerSecret.from_bytes(bytes(32)))
GOLDEN = Path(__file__).parent / "golden" / "signing-v1.json"


def fill(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "sub-a").mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "manifest.json").write_bytes(b"{}")
    (folder / "sub" / "b").write_bytes(b"")
    (folder / "sub-a" / "a").write_bytes(b"x" * 1000)
    return folder


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "net")


@pytest.fixture
def signed(folder):
    (folder / "model.sig").write_bytes(signing.sign_folder(folder, KEY))
    return folder


def model_signing(*arguments):
    command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_vectors_of_the_format():
    vectors = json.loads(GOLDEN.read_text())
    secret = bytes.fromhex(vectors["seller_secret"])
    key = signing.signing_key(SellerSecret.from_bytes(secret))
    number = int.from_bytes(hkdf(secret, b"", b"\0\0\0\x14variegate-signing-v1", 48), "big")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    assert key.private_numbers().private_value == number % (order - 1) + 1 == int(vectors["private_number"], 16)
    assert signing.public_pem(key) == vectors["public_pem"]
    assert signing.key_digest(key) == vectors["key_digest"] == signing.key_digest(key.public_key())
    dsse = vectors["dsse"]
    assert signing.dsse_encoding(dsse["payload_type"], dsse["payload"].encode()) == dsse["encoding"].encode()
    bundle = signing.sign_files(vectors["files"], key, name=vectors["name"])
    assert json.loads(bundle)["dsseEnvelope"]["payload"] == json.loads(vectors["bundle"])["dsseEnvelope"]["payload"]
    found = signing.read_bundle(vectors["bundle"].encode(), key.public_key())
    assert (found.name, found.files) == (vectors["name"], vectors["files"])


def test_the_encoding_is_that_of_the_dsse_standard():
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert signing.dsse_encoding("http://example.com/HelloWorld", b"hello world") == expected


def test_a_secret_has_one_key_and_another_secret_another():
    again = signing.signing_key(SellerSecret.from_bytes(bytes(range(32))))
    assert signing.public_pem(again) == signing.public_pem(KEY) == signing.public_pem(PUBLIC)
    assert signing.key_digest(OTHER) != signing.key_digest(KEY)


def test_what_is_signed_verifies(signed):
    found = signing.verify_folder(signed, (signed / "model.sig").read_bytes(), PUBLIC)
    assert sorted(found.files) == ["manifest.json", "model.onnx", "sub-a/a", "sub/b"]
    assert found.name == "net"
    moved = signed.rename(signed.parent / "elsewhere")
    signing.verify_folder(moved, (moved / "model.sig").read_bytes(), PUBLIC)


def test_model_signing_accepts_ours_by_command_and_by_api(signed, tmp_path):
    import model_signing as public

    (tmp_path / "seller.pub").write_text(signing.public_pem(KEY))
    verify = ("verify", "key", signed, "--signature", signed / "model.sig", "--public_key", tmp_path / "seller.pub")
    done = model_signing(*verify)
    assert (done.returncode, done.stdout.strip()) == (0, "Verification succeeded"), done.stderr
    config = public.verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "seller.pub")
    config.verify(signed, signed / "model.sig")
    (signed / "model.onnx").write_bytes(b"Weights")
    with pytest.raises(ValueError, match="model.onnx"):
        public.verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "seller.pub").verify(
            signed, signed / "model.sig"
        )


def test_what_model_signing_signs_verifies_with_ours(folder, tmp_path):
    pem = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "seller.key").write_bytes(pem)
    done = model_signing(
        "sign", "key", folder, "--signature", folder / "model.sig", "--private_key", tmp_path / "seller.key"
    )
    assert done.returncode == 0, done.stderr
    theirs = (folder / "model.sig").read_bytes()
    found = signing.verify_folder(folder, theirs, PUBLIC)
    assert found.files == signing.read_bundle(signing.sign_folder(folder, KEY), PUBLIC).files


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda f: (f / "model.onnx").write_bytes(b"weightS"), ["changed: model.onnx"]),
        (lambda f: (f / "sub" / "b").unlink(), ["missing: sub/b"]),
        (lambda f: (f / "sub" / "new").write_bytes(b""), ["not signed: sub/new"]),
        (lambda f: (f / "manifest.json").write_bytes(b"{ }"), ["changed: manifest.json"]),
        (lambda f: (f / "model.onnx").rename(f / "model.bin"), ["missing: model.onnx", "not signed: model.bin"]),
        (lambda f: (f / "link").symlink_to("model.onnx"), ["link"]),
        (lambda f: os.mkfifo(f / "pipe"), ["pipe"]),
    ],
)
def test_what_differs_is_named(signed, change, named):
    bundle = (signed / "model.sig").read_bytes()
    change(signed)
    with raises(VerificationError, *named):
        signing.verify_folder(signed, bundle, PUBLIC)


def test_what_belongs_to_git_is_not_signed_as_in_model_signing(signed):
    (signed / ".git").mkdir()
    (signed / ".git" / "HEAD").write_text("x")
    signing.verify_folder(signed, (signed / "model.sig").read_bytes(), PUBLIC)


def test_another_key_is_named(signed):
    with raises(VerificationError, "key"):
        signing.verify_folder(signed, (signed / "model.sig").read_bytes(), OTHER.public_key())


def test_a_signature_of_another_key_under_our_hint_fails(signed):
    values = json.loads((signed / "model.sig").read_bytes())
    payload = base64.b64decode(values["dsseEnvelope"]["payload"])
    forged = bundles._spell(
        values["verificationMaterial"]["publicKey"]["hint"],
        payload,
        signing.sign(OTHER, bundles._PAYLOAD_TYPE, payload),
    )
    with raises(VerificationError, "key"):
        signing.read_bundle(forged, PUBLIC)


BUNDLE = signing.sign_files({"model.onnx": "00" * 32, "manifest.json": "11" * 32}, KEY, name="net")


@settings(max_examples=300)
@given(data=st.data())
def test_every_byte_of_a_bundle_counts(data):
    place = data.draw(st.integers(0, len(BUNDLE) - 1))
    kind = data.draw(st.sampled_from(["replace", "insert", "delete", "cut"]))
    byte = bytes([data.draw(st.integers(0, 255))])
    after = place + (kind in ("replace", "delete"))
    changed = BUNDLE[:place] + (byte if kind in ("replace", "insert") else b"") + BUNDLE[after:]
    changed = BUNDLE[:place] if kind == "cut" else changed
    if changed != BUNDLE:
        with pytest.raises(VerificationError):
            signing.read_bundle(changed, PUBLIC)


@pytest.mark.parametrize("spelling", [b" " + BUNDLE, BUNDLE + b"\n", json.dumps(json.loads(BUNDLE)).encode()])
def test_another_spelling_of_the_same_bundle_is_refused(spelling):
    with raises(VerificationError, "byte"):
        signing.read_bundle(spelling, PUBLIC)


@pytest.mark.parametrize("junk", [b"", b"\xff", b"[]", b"{}", b"[" * 5000, b'{"a": NaN}', bytes(5 * 2**20)])
def test_junk_is_no_bundle(junk):
    with raises(VerificationError, "bundle"):
        signing.read_bundle(junk, PUBLIC)


def _statement(**changes):
    statement = json.loads(base64.b64decode(json.loads(BUNDLE)["dsseEnvelope"]["payload"]))
    for path, value in changes.items():
        place = statement
        *parents, last = path.split("__")
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[last] = value
    return statement


@pytest.mark.parametrize(
    "statement",
    [
        [],
        {},
        _statement(predicateType="https://model_signing/Digests/v0.1"),
        _statement(_type="other"),
        _statement(subject=[]),
        _statement(predicate__serialization__method="shards"),
        _statement(predicate__serialization__hash_type="blake3"),
        _statement(predicate__serialization__allow_symlinks=True),
        _statement(predicate__serialization__ignore_paths=[1]),
        _statement(predicate__resources=[]),
        _statement(predicate__resources=[{"name": "a", "algorithm": "sha256", "digest": "00"}]),
        _statement(predicate__resources=None),
        _statement(predicate__resources__0__name="model.onnx"),
        _statement(subject__0__digest={"sha256": "00" * 32}),
    ],
)
def test_a_rightly_signed_statement_of_another_form_is_refused(statement):
    payload = canonical_json(statement)
    signature = signing.sign(KEY, bundles._PAYLOAD_TYPE, payload)
    with raises(VerificationError, "signed"):
        signing.read_bundle(bundles._spell(bundles._hint(PUBLIC), payload, signature), PUBLIC)


def test_folders_that_cannot_be_signed(tmp_path):
    with raises(NotFoundError, "folder"):
        signing.sign_folder(tmp_path / "none", KEY)
    with raises(InputError, "nothing"):
        signing.sign_folder(tmp_path, KEY)
    (tmp_path / "link").symlink_to("elsewhere")
    with raises(InputError, "link"):
        signing.sign_folder(tmp_path, KEY)


def test_public_keys_are_read_and_others_refused():
    assert signing.key_digest(signing.read_public_key(signing.public_pem(KEY).encode())) == signing.key_digest(KEY)
    pem = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    wide = ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(*pem)
    agree = x25519.X25519PrivateKey.generate().public_key().public_bytes(*pem)
    for text, said in [(b"", "PEM"), (b"junk", "PEM"), (wide, "P-256"), (agree, "P-256")]:
        with raises(FormatError, said):
            signing.read_public_key(text)
