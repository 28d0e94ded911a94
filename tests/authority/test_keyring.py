"""The secrets of a home: kept, fetched, rotated, wiped."""

import stat
import threading

import pytest
from sqlalchemy import delete, func, select, update

from tests.raising import raises
from variegate.authority import keyring as module
from variegate.authority.keyring import KeyRing, SecretFiles
from variegate.errors import (
    ConfigurationError,
    ConflictError,
    InputError,
    NotFoundError,
    SecretError,
    VariegateError,
    VerificationError,
)
from variegate.keys import SellerSecret
from variegate.keystore import catalog
from variegate.keystore.base import MAX_BLOB_BYTES, Access
from variegate.keystore.providers import SealedFile
from variegate.keystore.sealing import SealingCost, seal
from variegate.registry.records import get_meta, list_secrets
from variegate.registry.registry import Registry
from variegate.registry.rows import SecretRow
from variegate.registry.schema import seller_secrets
from variegate.signing import public_pem, signing_key

CHEAP = SealingCost(memory_kib=8192, iterations=1, lanes=1)
FIRST = SellerSecret.from_bytes(bytes(range(32)))
OTHER = SellerSecret.from_bytes(b"\7" * 32)
ENV = {"VARIEGATE_PASSPHRASE": "open"}
FROM_ENV = {"VARIEGATE_SELLER_SECRET": bytes(range(32)).hex()}


def recorded(registry):
    return registry.read(list_secrets)


def lose_the_last(registry):
    """As after a restore of a backup that is older than the last rotation."""
    newest = select(func.max(seller_secrets.c.id)).scalar_subquery()
    registry.write(lambda connection: connection.execute(delete(seller_secrets).where(seller_secrets.c.id == newest)))


def change(registry, **values):
    registry.write(lambda connection: connection.execute(update(seller_secrets).values(**values)))


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr(catalog, "KEY_PROVIDERS", {**catalog.KEY_PROVIDERS, "sealed_file": SealedFile(cost=CHEAP)})


@pytest.fixture
def registry(tmp_path_factory):
    with Registry(tmp_path_factory.mktemp("registry") / "registry.db", create=True) as registry:
        yield registry


@pytest.fixture
def open_ring(tmp_path, registry):
    def make(env=ENV, **options):
        return KeyRing(tmp_path, registry, access=Access(env=env), **options)

    return make


@pytest.fixture
def begun(open_ring):
    """A home with one sealed secret."""
    begin(open_ring())


def sealed(tmp_path, identifier=FIRST.identifier):
    return tmp_path / "secrets" / f"{identifier}.sealed_file"


def begin(ring, provider="sealed_file", secret=FIRST):
    return ring.begin(secret, provider=provider)


def files(tmp_path):
    return sorted(path.name for path in (tmp_path / "secrets").glob("*"))


# A new home


def test_the_first_secret(open_ring, registry, tmp_path):
    row = begin(open_ring())
    pem = public_pem(signing_key(FIRST))
    assert (row.identifier, row.provider, row.public_key) == (FIRST.identifier, "sealed_file", pem)
    assert registry.read(get_meta, "secret_identifier") == FIRST.identifier
    path = tmp_path / "secrets" / f"{FIRST.identifier}.sealed_file"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert FIRST.reveal() not in path.read_bytes()
    ring = open_ring()
    assert ring.current() == ring.get(FIRST.identifier) == FIRST
    assert ring.rows() == [row]
    assert ring.stray() == []


def test_a_home_begins_once(open_ring, begun, registry):
    with raises(ConflictError, "already", "secret", "rotate"):
        begin(open_ring())
    with raises(ConflictError, "already", "secret"):
        begin(open_ring(), secret=OTHER)


def test_a_secret_that_lives_elsewhere(open_ring, tmp_path):
    begin(open_ring({}), "environment")
    assert files(tmp_path) == []
    assert open_ring(FROM_ENV).current() == FIRST
    assert open_ring({}, source=lambda: FIRST).current() == FIRST
    with raises(SecretError, str(FIRST.identifier), "secret"):
        open_ring({}).current()


def test_a_registry_without_any_secret(open_ring):
    with raises(SecretError, "secret", "backup"):
        open_ring().rows()


# Rotation


def test_rotation_keeps_what_was_before(open_ring, begun, registry, tmp_path):
    ring = open_ring()
    row = ring.rotate("sealed_file")
    assert [each.identifier for each in recorded(registry)] == [FIRST.identifier, row.identifier]
    assert files(tmp_path) == sorted(f"{each}.sealed_file" for each in (FIRST.identifier, row.identifier))
    again = open_ring()
    assert again.current().identifier == row.identifier != FIRST.identifier
    assert again.get(FIRST.identifier) == FIRST
    third = again.rotate("sealed_file")
    assert again.current().identifier == third.identifier
    assert [each.identifier for each in again.rows()] == [FIRST.identifier, row.identifier, third.identifier]
    assert again.stray() == []


def test_rotation_to_the_environment(open_ring, begun, tmp_path):
    new = {"VARIEGATE_SELLER_SECRET": OTHER.reveal().hex(), **ENV}
    row = open_ring(new).rotate("environment")
    assert (row.identifier, row.provider) == (OTHER.identifier, "environment")
    assert files(tmp_path) == [sealed(tmp_path).name]
    assert open_ring(new).current() == OTHER
    assert open_ring(new).get(FIRST.identifier) == FIRST  # by its sealed file
    with raises(ConflictError, str(OTHER.identifier), "already", "secret"):
        open_ring(new).rotate("environment")


def test_environment_after_environment(open_ring):
    begin(open_ring({}), "environment")
    both = {
        "VARIEGATE_SELLER_SECRET": OTHER.reveal().hex(),
        f"VARIEGATE_SELLER_SECRET_{FIRST.identifier.upper()}": FIRST.reveal().hex(),
    }
    open_ring(both).rotate("environment")
    ring = open_ring(both)
    assert (ring.current(), ring.get(FIRST.identifier)) == (OTHER, FIRST)
    with raises(SecretError, str(FIRST.identifier), "identifier", "secret"):
        open_ring({"VARIEGATE_SELLER_SECRET": OTHER.reveal().hex()}).get(FIRST.identifier)


def test_a_kill_between_storing_and_recording_loses_nothing(open_ring, begun, registry, tmp_path, monkeypatch):
    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    ring = open_ring()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "add_secret", killed)
        ring.rotate("sealed_file")
    left = next(name for name in files(tmp_path) if name != sealed(tmp_path).name)
    again = open_ring()
    assert again.current() == FIRST
    assert again.stray() == [tmp_path / "secrets" / left]
    again.rotate("sealed_file")
    assert again.stray() == [tmp_path / "secrets" / left]


def test_nothing_is_recorded_that_was_not_stored(open_ring, begun, registry, monkeypatch):
    ring = open_ring()

    def full(*args, **kwargs):
        raise VariegateError("disk full")

    monkeypatch.setattr(module, "write_atomic", full)
    with raises(VariegateError, "full"):
        ring.rotate("sealed_file")
    assert len(recorded(registry)) == 1


def test_rotation_needs_a_provider(open_ring, begun, registry, tmp_path):
    with raises(ConfigurationError, "kms", "provider"):
        open_ring().rotate("kms")
    assert len(recorded(registry)) == len(files(tmp_path)) == 1


def test_a_provider_that_keeps_the_plain_secret_is_refused(open_ring, begun, monkeypatch, tmp_path):
    class Careless:
        name = "careless"
        create = staticmethod(lambda access: OTHER)
        store = staticmethod(lambda secret, access: b"x" + secret.reveal())
        fetch = staticmethod(lambda blob, *, identifier, access: OTHER)

    class Large(Careless):
        store = staticmethod(lambda secret, access: bytes(MAX_BLOB_BYTES + 1))

    for provider, message in ((Careless(), "would keep the plain secret"), (Large(), "gave 65537 bytes to keep")):
        monkeypatch.setattr(catalog, "KEY_PROVIDERS", {**catalog.KEY_PROVIDERS, "careless": provider})
        with pytest.raises(SecretError, match=message):
            open_ring().rotate("careless")
        assert files(tmp_path) == [sealed(tmp_path).name]


def test_nothing_is_recorded_that_does_not_come_back(open_ring, begun, registry, monkeypatch, tmp_path):
    class Lossy:
        name = "lossy"
        create = staticmethod(lambda access: SellerSecret.from_bytes(OTHER.reveal()))
        store = staticmethod(lambda secret, access: b"gone")
        fetch = staticmethod(lambda blob, *, identifier, access: SellerSecret.from_bytes(bytes(32)))

    ring = open_ring()
    monkeypatch.setattr(catalog, "KEY_PROVIDERS", {**catalog.KEY_PROVIDERS, "lossy": Lossy()})
    with raises(SecretError, str(OTHER.identifier), "secret", "gives"):
        ring.rotate("lossy")
    assert len(recorded(registry)) == 1
    assert files(tmp_path) == [sealed(tmp_path).name]


# A registry that is older than the files


@pytest.fixture
def restored(open_ring, begun, registry):
    """A home after a rotation, with the registry as it was before; the identifier of the secret that it lacks."""
    new = open_ring().rotate("sealed_file").identifier
    lose_the_last(registry)
    return new


def test_a_secret_that_the_registry_lost_is_recorded_again(open_ring, registry, restored, tmp_path):
    ring = open_ring()
    assert ring.current() == FIRST
    (path,) = ring.stray()
    assert ring.identifier_in(path) == restored
    row = ring.take_in(restored)
    assert row == recorded(registry)[-1]
    assert (row.identifier, row.provider) == (restored, "sealed_file")
    assert ring.stray() == []
    again = open_ring()
    assert again.current().identifier == restored
    assert row.public_key == public_pem(signing_key(again.current()))
    assert again.get(FIRST.identifier) == FIRST
    with raises(ConflictError, str(restored), "already", "secret"):
        again.take_in(restored)


def test_only_a_file_that_opens_is_recorded(open_ring, registry, restored, tmp_path):
    path = tmp_path / "secrets" / f"{restored}.sealed_file"
    with raises(SecretError, "passphrase"):
        open_ring({**FROM_ENV, "VARIEGATE_PASSPHRASE": "shut"}).take_in(restored)
    path.write_bytes(seal(OTHER, b"open", cost=CHEAP))
    with raises(SecretError, str(restored), str(OTHER.identifier), "identifier"):
        open_ring().take_in(restored)
    path.unlink()
    for name in (restored, "../secret", "", "00"):
        with raises(NotFoundError, "--provider"):
            open_ring().take_in(name)
    assert [row.identifier for row in recorded(registry)] == [FIRST.identifier]


def test_a_backup_beside_the_file_of_a_token(open_ring, registry, restored, tmp_path):
    (tmp_path / "secrets" / f"{restored}.pkcs11").write_bytes(b"needs a token")
    row = open_ring().take_in(restored)
    assert row.provider == "pkcs11"
    assert open_ring().current().identifier == restored
    assert open_ring().stray() == []


def test_files_that_are_no_secret_s(open_ring, begun, tmp_path):
    for name in (".tmp-9", "0123456789abcdef", "0123456789ABCDEF.sealed_file", "0123456789abcdef.Sealed"):
        (tmp_path / "secrets" / name).write_bytes(b"")
    ring = open_ring()
    assert [ring.identifier_in(path) for path in ring.stray()] == [None] * 4


# Fetching


def test_a_passphrase_is_asked_once(tmp_path, registry, begun):
    asked = []
    access = Access(env={}, prompt=lambda question: asked.append(question) or "open")
    ring = KeyRing(tmp_path, registry, access=access)
    assert ring.current() is ring.get(FIRST.identifier)
    assert asked == [f"Passphrase of the secret {FIRST.identifier}: "]


def test_known_secrets_cost_no_query(open_ring, registry, monkeypatch):
    ring = open_ring()
    begin(ring)
    registry.close()
    monkeypatch.setattr(registry, "read", None)
    assert ring.get(FIRST.identifier) == FIRST


def test_the_environment_spares_the_passphrase(open_ring, begun):
    assert open_ring(FROM_ENV).current() == FIRST


def test_a_secret_of_another_home_in_the_environment_is_passed_over(open_ring, begun):
    other = {"VARIEGATE_SELLER_SECRET": "07" * 32}
    assert open_ring(other | ENV).current() == FIRST
    with raises(SecretError, "passphrase"):
        open_ring(other).current()


def test_another_secret_in_its_place(open_ring, begun, tmp_path):
    sealed(tmp_path).write_bytes(seal(OTHER, b"open", cost=CHEAP))
    with raises(SecretError, str(FIRST.identifier), str(OTHER.identifier), "identifier", "secret"):
        open_ring().current()


def test_identifiers_are_compared_in_constant_time(open_ring, begun, monkeypatch):
    seen = []
    monkeypatch.setattr(module.hmac, "compare_digest", lambda a, b: seen.append(bytes(a)) or a == b)
    open_ring().current()
    assert seen.count(FIRST.identifier.encode()) >= 1


@pytest.mark.parametrize("name", ["0" * 16, "", "../../etc", "\udcff"])
def test_no_such_secret(open_ring, begun, name):
    with raises(NotFoundError, "variegate", "secret"):
        open_ring().get(name)


def test_a_file_is_missing(open_ring, begun, tmp_path):
    ring = open_ring()
    row = ring.rotate("sealed_file")
    (tmp_path / "secrets" / f"{row.identifier}.sealed_file").unlink()
    sealed(tmp_path).unlink()
    for name in (row.identifier, FIRST.identifier):
        with raises(SecretError, "restore", "secret"):
            open_ring().get(name)


def test_a_backup_takes_the_place_of_another_provider(open_ring, begun, tmp_path):
    new = {"VARIEGATE_SELLER_SECRET": OTHER.reveal().hex(), **ENV}
    open_ring(new).rotate("environment")
    with pytest.raises(SecretError):
        open_ring().current()
    (tmp_path / "secrets" / f"{OTHER.identifier}.sealed_file").write_bytes(seal(OTHER, b"open", cost=CHEAP))
    assert open_ring().current() == OTHER
    assert open_ring().get(FIRST.identifier) == FIRST
    assert open_ring().stray() == []


def test_a_folder_in_its_place(open_ring, begun, tmp_path):
    sealed(tmp_path).unlink()
    sealed(tmp_path).mkdir()
    with raises(SecretError, "folder"):
        open_ring().current()


def test_a_changed_row_does_not_lead_out_of_the_home(open_ring, begun, registry, tmp_path):
    sealed(tmp_path).unlink()
    for identifier, provider in ((FIRST.identifier, "../../etc/passwd"), ("../../../etc", "sealed_file")):
        change(registry, identifier=identifier, provider=provider)
        with pytest.raises((SecretError, ConfigurationError)):
            open_ring().current()
        with raises(SecretError, "registry", "changed"):
            open_ring().stray()


def test_a_changed_public_key_is_noticed(open_ring, registry):
    begin(open_ring())
    change(registry, public_key=public_pem(signing_key(OTHER)))
    with raises(VerificationError, str(FIRST.identifier), "public", "secret"):
        open_ring().current()


def test_public_keys_need_no_secret(open_ring, begun):
    assert open_ring({}).public_key(FIRST.identifier) == public_pem(signing_key(FIRST))


# Forgetting


def test_forgetting_wipes_and_fetches_again(open_ring, begun):
    ring = open_ring()
    held = ring.current()
    kept = held.duplicate()
    ring.forget_all()
    assert held.is_wiped
    assert kept == FIRST
    assert ring.current() == FIRST
    ring.forget_all()
    ring.forget_all()


def test_what_a_program_gave_is_not_wiped(open_ring, begun):
    ring = open_ring({}, source=lambda: FIRST)
    held = ring.current()
    ring.forget_all()
    assert held.is_wiped
    assert not FIRST.is_wiped


def test_what_a_home_began_with_is_not_wiped(open_ring):
    ring = open_ring()
    begin(ring)
    ring.forget_all()
    assert not FIRST.is_wiped


def test_threads_fetch_once(tmp_path, registry, begun):
    asked = []
    ring = KeyRing(tmp_path, registry, access=Access(env={}, prompt=lambda question: asked.append(question) or "open"))
    got = []
    threads = [threading.Thread(target=lambda: got.append(ring.current())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [FIRST] * 4
    assert len(asked) == 1


def test_a_ring_shows_nothing(open_ring, begun):
    ring = open_ring()
    ring.current()
    assert "open" not in repr(ring)
    assert repr(ring).startswith("KeyRing('")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "secrets").write_text("")
    row = SecretRow(identifier="0" * 16, provider="sealed_file", public_key="", added_at=1)
    with pytest.raises(VariegateError, match="cannot (make|write)"):
        SecretFiles(tmp_path).write(row, b"x")
    with raises(InputError, "part", "path"):
        SecretFiles(tmp_path).stray([row])
