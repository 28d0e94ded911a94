"""A home appears whole, keeps its secret private, and says what is wrong with it."""

import json
import os
import stat
from pathlib import Path

import pytest

from tests.authority.conftest import SECRET
from tests.raising import raises
from variegate.authority import Authority
from variegate.authority.home import Home, restore_home
from variegate.authority.keyring import KeyRing
from variegate.errors import (
    ConfigurationError,
    ConflictError,
    FormatError,
    InputError,
    NotFoundError,
    SecretError,
    VariegateError,
)
from variegate.files import folder_that_appears_whole
from variegate.keys import SellerSecret
from variegate.keystore import providers
from variegate.keystore.base import Access
from variegate.registry import backup as module
from variegate.registry.backup import restore_backup, write_backup
from variegate.registry.records import add_policy, list_models
from variegate.registry.registry import Registry


def access(passphrase: str) -> Access:
    return Access(env={"VARIEGATE_PASSPHRASE": passphrase})


def test_create_and_open_with_a_passphrase(tmp_path):
    root = tmp_path / "deep" / "home"
    Authority.create(root, SECRET, provider="sealed_file", access=access("correct horse")).close()
    home = Home(root)
    (sealed,) = (root / "secrets").iterdir()
    assert sealed.name == f"{SECRET.identifier}.sealed_file"
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.registry.stat().st_mode) == 0o600
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert sorted(path.name for path in root.iterdir()) == ["models", "registry.db", "secrets", "specs"]
    assert [path.name for path in root.parent.iterdir()] == ["home"]
    with Authority.open(root, access=access("correct horse")) as desk:
        assert desk.secret() == SECRET


def test_without_a_passphrase_no_secret_is_kept(empty):
    assert not (empty.home.root / "secrets").exists()
    for path in empty.home.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert bytes(range(32)) not in content
            assert bytes(range(32)).hex().encode() not in content


def test_another_secret_is_refused_by_name(empty):
    other = SellerSecret.from_bytes(bytes(32))
    with (
        Authority.open(empty.home.root, lambda: other) as desk,
        raises(SecretError, str(SECRET.identifier), str(other.identifier), "identifier"),
    ):
        desk.secret()


def test_the_secret_is_fetched_only_when_needed(empty):
    def ask():
        raise SecretError("nobody is there")

    with Authority.open(empty.home.root, ask, read_only=True) as desk:
        assert desk.registry.read(list_models) == []
        with raises(SecretError, "nobody"):
            desk.secret()


def test_repr_shows_no_secret(desk):
    desk.secret()
    assert repr(desk) == f"Authority({str(desk.home.root)!r})"


def test_second_home_is_refused(empty, tmp_path):
    with raises(ConflictError, "variegate", "already"):
        Authority.create(empty.home.root, SECRET)
    with raises(ConflictError, "holds", "files"):
        Authority.create(tmp_path, SECRET)
    (tmp_path / "file").write_text("")
    with raises(ConflictError, "file"):
        Authority.create(tmp_path / "file", SECRET)


def test_an_empty_folder_becomes_a_home(tmp_path):
    (tmp_path / "home").mkdir()
    Authority.create(tmp_path / "home", SECRET).close()
    assert Home(tmp_path / "home").registry.is_file()


def test_a_home_that_fails_halfway_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise SecretError("no memory for Argon2id")

    monkeypatch.setattr(providers, "seal", fail)
    with raises(SecretError, "memory"):
        Authority.create(tmp_path / "home", SECRET, provider="sealed_file", access=access("x"))
    assert list(tmp_path.iterdir()) == []


def test_not_a_home(tmp_path):
    with raises(NotFoundError, "variegate"):
        Authority.open(tmp_path, SellerSecret.generate)
    (tmp_path / "registry.db").write_bytes(b"something else entirely" * 200)
    with raises(FormatError, "SQLite"):
        Authority.open(tmp_path, SellerSecret.generate)


def test_folder_under_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with raises(InputError, "part", "path"):
        Authority.create(tmp_path / "file" / "home", SECRET)


def test_two_folders_for_one_place(tmp_path):
    place = tmp_path / "place"
    with (
        raises(ConflictError, "already", "exists"),
        folder_that_appears_whole(place) as slow,
    ):
        (slow / "a").write_text("slow")
        with folder_that_appears_whole(place) as quick:
            (quick / "a").write_text("quick")
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert (place / "a").read_text() == "quick"


def test_the_current_folder_becomes_a_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Authority.create(Path(), SECRET, provider="sealed_file", access=access("x")).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "registry.db", "secrets", "specs"]
    Authority.open(Path(), lambda: SECRET).close()


def test_a_link_to_an_empty_folder_becomes_a_home(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    Authority.create(tmp_path / "link", SECRET).close()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "registry.db").is_file()
    assert stat.S_IMODE((tmp_path / "real" / "registry.db").stat().st_mode) == 0o600


def test_an_existing_folder_is_filled_and_never_replaced(tmp_path):
    """A mount point cannot be renamed over."""
    (tmp_path / "home").mkdir()
    before = (tmp_path / "home").stat().st_ino
    Authority.create(tmp_path / "home", SECRET).close()
    assert (tmp_path / "home").stat().st_ino == before


def test_an_existing_folder_is_left_empty_by_a_failure(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    rename = Path.rename

    def fail_at_the_registry(self, target):
        if self.name == "registry.db":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_at_the_registry)
    with raises(VariegateError, "space", "left"):
        Authority.create(tmp_path / "home", SECRET)
    assert list((tmp_path / "home").iterdir()) == []


def test_the_registry_comes_last(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    order, rename = [], Path.rename

    def remember(self, target):
        order.append(self.name)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", remember)
    Authority.create(tmp_path / "home", SECRET).close()
    assert order[-1] == "registry.db"


def test_files_that_appear_meanwhile_are_left_alone(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    begin = KeyRing.begin

    def begin_slowly(*arguments, **options):
        (tmp_path / "home" / "models").mkdir()
        return begin(*arguments, **options)

    monkeypatch.setattr(KeyRing, "begin", begin_slowly)
    with raises(ConflictError, "holds", "files"):
        Authority.create(tmp_path / "home", SECRET)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["models"]


def test_a_link_to_a_folder_that_is_not_there_yet_becomes_a_home(tmp_path):
    (tmp_path / "link").symlink_to("real")
    Authority.create(tmp_path / "link", SECRET).close()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "registry.db").is_file()


def test_what_a_killed_init_left_is_named(tmp_path):
    (tmp_path / "home" / ".variegate-abc").mkdir(parents=True)
    with raises(ConflictError, "folder"):
        Authority.create(tmp_path / "home", SECRET)
    (tmp_path / "home" / "notes").write_text("")
    with raises(ConflictError, "holds", "files"):
        Authority.create(tmp_path / "home", SECRET)


# A registry in another database; a SQLite file by its URL stands for the server


def url_of(path):
    return f"sqlite:///{path}"


def test_a_home_knows_its_own_database(tmp_path):
    urls = [url_of(tmp_path / name) for name in ("one.db", "two.db")]
    secrets = [SECRET, SellerSecret.from_bytes(bytes(32))]
    for name, url, secret in zip(("one", "two"), urls, secrets, strict=True):
        Authority.create(tmp_path / name, secret, database_url=url).close()
    mark = json.loads((tmp_path / "one" / "registry.json").read_text())
    assert mark["secret"] == SECRET.identifier
    Authority.open(tmp_path / "one", database_url=urls[0]).close()
    with raises(ConfigurationError, str(SECRET.identifier), "registry", "home"):
        Authority.open(tmp_path / "one", database_url=urls[1])
    Registry(tmp_path / "empty.db", create=True).close()
    with raises(ConfigurationError, "without", "secret"):
        Authority.open(tmp_path / "one", database_url=url_of(tmp_path / "empty.db"))
    del mark["secret"]  # as homes were made before
    (tmp_path / "one" / "registry.json").write_text(json.dumps(mark))
    Authority.open(tmp_path / "one", database_url=urls[0]).close()
    (tmp_path / "one" / "registry.json").write_text('{"secret": 3}')
    with raises(FormatError, "registry.json"):
        Authority.open(tmp_path / "one", database_url=urls[0])


def test_an_init_that_failed_after_the_database_says_how_to_go_on(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    rename = Path.rename

    def fail(self, target):
        if self.name == "registry.json":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    url = url_of(tmp_path / "elsewhere.db")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with raises(VariegateError, "space", "left"):
            Authority.create(tmp_path / "home", SECRET, database_url=url)
    with raises(ConflictError, "elsewhere.db"):
        Authority.create(tmp_path / "home", SECRET, database_url=url)
    assert list((tmp_path / "home").iterdir()) == []
    with Registry(tmp_path / "elsewhere.db") as store:
        store.write(add_policy, "p", {})
    with raises(ConflictError, "registry", "database"):
        Authority.create(tmp_path / "home", SECRET, database_url=url)


@pytest.fixture
def backup(empty, tmp_path):
    write_backup(empty.registry, tmp_path / "b.vgb")
    return tmp_path / "b.vgb"


def test_a_restore_that_was_killed_after_the_database_goes_on(empty, backup, tmp_path):
    url = url_of(tmp_path / "elsewhere.db")
    end = restore_backup(backup, url)  # and then the process died
    assert restore_home(tmp_path / "again", backup, database_url=url) == end
    with Authority.open(tmp_path / "again", lambda: SECRET, database_url=url) as desk:
        assert desk.secret() == SECRET
        desk.registry.write(add_policy, "p", {})
    with raises(ConflictError, "something", "already"):  # no longer what the backup holds
        restore_home(tmp_path / "third", backup, database_url=url)
    write_backup(empty.registry, tmp_path / "other.vgb", clock=lambda: 5)
    restore_backup(backup, url_of(tmp_path / "fourth.db"))
    with raises(ConflictError, "something", "already"):  # another backup
        restore_home(tmp_path / "fourth", tmp_path / "other.vgb", database_url=url_of(tmp_path / "fourth.db"))


def test_nobody_reads_the_salts_during_a_restore(backup, tmp_path, monkeypatch):
    """The home exists and is open to others; they see no file of the registry before it is private."""
    home = tmp_path / "again"
    home.mkdir(mode=0o755)
    restore, seen = module.restore_backup, []

    def watch(file, place, **options):
        def look(_done, _total):
            for path in [home, *(each for each in home.rglob("*") if each.name.startswith(("registry", ".")))]:
                private = any(
                    not stat.S_IMODE(each.stat().st_mode) & 0o077
                    for each in (path, *path.parents)
                    if home in (each, *each.parents)
                )
                seen.append((path.name, private))

        result = restore(file, place, **options | {"progress": look})
        look(0, 0)
        return result

    monkeypatch.setattr(module, "restore_backup", watch)
    old = os.umask(0o022)
    try:
        restore_home(home, backup)
    finally:
        os.umask(old)
    assert {private for _, private in seen} == {True}
    assert any(name.startswith("registry.db") for name, _ in seen)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert sorted(path.name for path in home.iterdir()) == ["models", "registry.db", "specs"]


def test_a_registry_that_appears_during_a_restore_is_kept(backup, tmp_path, monkeypatch):
    home, restore = tmp_path / "again", module.restore_backup

    def restore_slowly(*arguments, **options):
        result = restore(*arguments, **options)
        (home / "registry.db").write_bytes(b"another's")
        return result

    monkeypatch.setattr(module, "restore_backup", restore_slowly)
    with raises(ConflictError, "registry", "now"):
        restore_home(home, backup)
    assert (home / "registry.db").read_bytes() == b"another's"
    assert sorted(path.name for path in home.iterdir()) == ["models", "registry.db", "specs"]
