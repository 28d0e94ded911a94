"""What goes in comes out, uniqueness is kept, filters filter."""

import dataclasses
import hashlib
import os
import threading
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import insert, text

from tests.raising import raises
from tests.registry.conftest import SPEC, make_row, model_manifest, postgres_schema
from variegate.errors import ConfigurationError, ConflictError, NotFoundError, VariegateError
from variegate.manifest import digest
from variegate.registry.bulk import add_copies
from variegate.registry.copies import (
    CHUNK_ROWS,
    PAGE_ROWS,
    change_status,
    count_copies,
    get_copies,
    get_copy,
    iterate_copies,
    last_epochs,
    list_copies,
)
from variegate.registry.records import (
    add_model,
    add_policy,
    add_secret,
    add_spec,
    get_meta,
    get_model,
    get_spec,
    list_models,
    put_meta,
)
from variegate.registry.registry import Registry
from variegate.registry.schema import copy_salts
from variegate.registry.verify import verify_log
from variegate.types import CopyStatus

OTHER = {"rewriter": "permutation", "alpha": 0.8}


def test_model_round_trip(registry):
    assert registry.read(get_model, "net") == model_manifest()
    registry.write(add_model, model_manifest("other"))
    assert [manifest.name for manifest in registry.read(list_models)] == ["net", "other"]


def test_model_name_is_unique(registry):
    with raises(ConflictError, "net"):
        registry.write(add_model, model_manifest(labels=("a", "b")))
    with raises(ConflictError, "net"):
        registry.write(add_model, model_manifest())
    assert registry.read(get_model, "net").labels == ("stop", "yield")


def test_missing_things_are_named(registry):
    with raises(NotFoundError, "nope"):
        registry.read(get_model, "nope")
    with raises(NotFoundError, "vg1-0"):
        registry.read(get_copy, "vg1-0")
    with raises(NotFoundError, "sha256:0", "digest"):
        registry.read(get_spec, "sha256:0")


def test_spec_is_stored_once_and_returned_fresh(registry):
    assert registry.write(add_spec, "second name", SPEC) == digest(SPEC)
    registry.read(get_spec, digest(SPEC))["strength"] = 9.0
    assert registry.read(get_spec, digest(SPEC)) == SPEC


def test_meta_is_remembered_and_does_not_change(registry):
    assert registry.read(get_meta, "colour") is None
    registry.write(put_meta, "colour", "blue")
    registry.write(put_meta, "colour", "blue")
    with raises(ConflictError, "blue", "red"):
        registry.write(put_meta, "colour", "red")
    assert registry.read(get_meta, "colour") == "blue"


def test_copy_round_trip(registry, row):
    assert registry.write(add_copies, [row("acme"), row("bolt")]) == 2
    assert registry.read(get_copy, row("acme").copy_id) == row("acme")
    assert registry.read(get_copies, [row("bolt").copy_id, "vg1-unknown"]) == {row("bolt").copy_id: row("bolt")}


def test_every_field_of_a_copy_comes_back(registry, row):
    registry.write(add_policy, "gold", {"quota": 5})
    registry.write(add_secret, "00112233445566ff", provider="file", public_key="PEM")
    full = row(
        "acme", policy="gold", secret="00112233445566ff", key_identifier="ffffffffffffffff", draw=3, expires_at=2**33
    )
    other = row("bolt", key_identifier="7fffffffffffffff", epoch=2**31 - 1)
    registry.write(add_copies, [full, other])
    assert registry.read(list_copies) == [full, other]


@pytest.mark.parametrize("known", [{"policy": "nope"}, {"secret": "0" * 16}], ids=str)
def test_rows_for_unknown_policies_and_secrets_are_refused(registry, row, known):
    with pytest.raises(NotFoundError, match="there is no (policy named 'nope'|seller secret 0000000000000000)"):
        registry.write(add_copies, [row("acme"), row("bolt", **known)])
    assert registry.read(count_copies) == 0


def test_two_copies_never_share_a_key(registry, row):
    registry.write(add_copies, [row("acme", key_identifier="00000000000000aa")])
    with raises(ConflictError, "bolt", "acme", "buyer"):
        registry.write(add_copies, [row("new"), row("bolt", key_identifier="00000000000000aa")])
    assert registry.read(count_copies) == 1


@pytest.mark.parametrize("key", ["", "00", "g" * 16, "A" * 16, "0" * 17])
def test_key_identifiers_are_16_digits(registry, row, key):
    with raises(ConfigurationError, "16"):
        registry.write(add_copies, [row("acme", key_identifier=key)])


def test_survives_reopening(registry, url, row):
    registry.write(add_copies, [row("acme")])
    registry.close()
    with Registry(url, read_only=True) as again:
        assert again.read(list_copies) == [row("acme")]


@pytest.mark.parametrize("count", [1, CHUNK_ROWS, CHUNK_ROWS + 1])
def test_iterators_are_read_in_pieces(registry, row, count):
    assert registry.write(add_copies, (row(f"b{i}") for i in range(count))) == count
    assert registry.read(count_copies) == count
    assert [copy.buyer for copy in registry.read(list_copies)] == [f"b{i}" for i in range(count)]


def test_second_copy_for_one_buyer_and_epoch_is_refused(registry, row):
    registry.write(add_spec, "other", OTHER)
    registry.write(add_copies, [row("acme"), row("bolt")])
    with raises(ConflictError, "bolt", "net", "buyer", "epoch"):
        registry.write(add_copies, [row("new"), row("bolt", spec=OTHER), row("acme", spec=OTHER)])
    assert registry.read(count_copies) == 2
    assert registry.write(add_copies, [row("bolt", spec=OTHER, epoch=2)]) == 1


def test_the_same_copy_is_refused_or_kept_as_asked(registry, row):
    registry.write(add_copies, [row("acme")])
    with raises(ConflictError, "acme"):
        registry.write(add_copies, [row("acme")])
    later = dataclasses.replace(row("acme"), issued_at=1_800_000_000)
    assert registry.write(add_copies, [later, row("bolt"), later], keep_existing=True) == 1
    assert registry.read(get_copy, later.copy_id).issued_at == 1_790_000_000


@pytest.mark.parametrize("keep_existing", [False, True])
def test_conflict_within_one_call_is_found_across_pieces(registry, row, keep_existing):
    registry.write(add_spec, "other", OTHER)
    rows = [*(row(f"b{i}") for i in range(CHUNK_ROWS + 10)), row("b3", spec=OTHER), row("b1", spec=OTHER)]
    with raises(ConflictError, "b3", "buyer"):
        registry.write(add_copies, rows, keep_existing=keep_existing)
    assert registry.read(count_copies) == 0
    with raises(ConflictError, "buyer"):
        registry.write(add_copies, [row("x"), row("x", spec=OTHER)], keep_existing=keep_existing)
    assert registry.read(count_copies) == 0


def test_rows_for_unknown_models_and_specs_are_refused(registry, row):
    with raises(NotFoundError, "nope"):
        registry.write(add_copies, [row("acme"), row("acme", model="nope")])
    with raises(NotFoundError, "digest"):
        registry.write(add_copies, [row("acme", spec=OTHER)])
    assert registry.read(count_copies) == 0


def test_an_exception_in_the_iterator_undoes_everything(registry, row):
    def rows():
        yield from (row(f"b{i}") for i in range(CHUNK_ROWS + 5))
        raise RuntimeError("the list broke off")

    with raises(RuntimeError, "broke", "off"):
        registry.write(add_copies, rows())
    assert registry.read(count_copies) == 0


def test_filters_and_pages(registry, row):
    registry.write(add_model, model_manifest("second"))
    registry.write(add_copies, [*(row(f"b{i}") for i in range(5)), row("b0", model="second"), row("b0", epoch=2)])
    assert registry.read(count_copies) == 7
    assert registry.read(count_copies, model="net") == 6
    assert registry.read(count_copies, buyer="b0") == 3
    assert registry.read(count_copies, buyer="b0", model="second") == 1
    assert registry.read(count_copies, status=CopyStatus.REVOKED) == 0
    assert registry.read(count_copies, buyer="nobody") == 0
    assert [copy.buyer for copy in registry.read(list_copies, model="net", limit=2, offset=1)] == ["b1", "b2"]
    assert [copy.epoch for copy in registry.read(list_copies, buyer="b0", model="net")] == [1, 2]


def test_copies_are_iterated_in_order_across_pages(registry, row):
    registry.write(add_copies, (row(f"b{i}") for i in range(2 * PAGE_ROWS + 1)))
    found = iterate_copies(registry, model="net")
    assert next(found).buyer == "b0"
    registry.write(add_copies, [row("late")])
    assert [copy.buyer for copy in found] == [*(f"b{i}" for i in range(1, 2 * PAGE_ROWS + 1)), "late"]
    assert [copy.buyer for copy in iterate_copies(registry, buyer="b7")] == ["b7"]
    assert list(iterate_copies(registry, status=CopyStatus.REVOKED)) == []


def test_last_epochs(registry, row):
    registry.write(add_model, model_manifest("second"))
    registry.write(add_copies, [row("acme"), row("acme", epoch=4), row("bolt"), row("acme", epoch=9, model="second")])
    assert registry.read(last_epochs, "net", ["acme", "bolt", "nobody"]) == {"acme": 4, "bolt": 1}
    assert registry.read(last_epochs, "net", []) == {}
    assert registry.read(last_epochs, "nope", ["acme"]) == {}


def test_a_later_copy_supersedes_the_earlier_ones(registry, row):
    registry.write(add_model, model_manifest("second"))
    registry.write(
        add_copies, [row("acme"), row("acme", epoch=2), row("bolt"), row("acme", model="second"), row("acme", epoch=9)]
    )
    registry.write(change_status, [row("acme").copy_id], CopyStatus.REVOKED)
    assert registry.write(add_copies, [row("acme", epoch=3)], supersede=True) == 1
    assert {(copy.model, copy.buyer, copy.epoch): copy.status.value for copy in registry.read(list_copies)} == {
        ("net", "acme", 1): "revoked",
        ("net", "acme", 2): "superseded",
        ("net", "acme", 3): "active",
        ("net", "acme", 9): "active",
        ("net", "bolt", 1): "active",
        ("second", "acme", 1): "active",
    }
    assert registry.write(add_copies, [row("acme", epoch=3)], supersede=True, keep_existing=True) == 0


def test_a_copy_that_is_no_longer_active_is_not_kept(registry, row):
    registry.write(add_copies, [row("acme"), row("bolt")])
    registry.write(change_status, [row("bolt").copy_id], CopyStatus.REVOKED)
    with raises(ConflictError, "bolt", "buyer", "revoked"):
        registry.write(add_copies, [row("acme"), row("new"), row("bolt")], keep_existing=True)
    assert registry.read(count_copies) == 2


def test_rows_may_read_the_store_while_they_are_recorded(registry, row):
    def rows():
        for i in range(3):
            assert registry.read(last_epochs, "net", [f"b{i}"]) == {}
            yield row(f"b{i}")

    assert registry.write(add_copies, rows()) == 3


def test_change_status_is_all_or_nothing(registry, row):
    registry.write(add_copies, [row("acme"), row("bolt"), row("cord")])
    acme, bolt, cord = (row(buyer).copy_id for buyer in ("acme", "bolt", "cord"))
    assert registry.write(change_status, [acme, acme], CopyStatus.REVOKED, reason="leaked") == 1
    assert registry.write(change_status, [acme, bolt], CopyStatus.REVOKED) == 1
    with raises(ConflictError, str(acme), "revoked", "superseded"):
        registry.write(change_status, [cord, acme], CopyStatus.SUPERSEDED)
    with raises(NotFoundError, "vg1-0"):
        registry.write(change_status, [cord, "vg1-0"], CopyStatus.REVOKED)
    assert registry.read(get_copy, cord).status is CopyStatus.ACTIVE
    assert registry.write(change_status, [], CopyStatus.REVOKED) == 0


def test_threads_write_at_once(registry, row):
    failures = []

    def write(part):
        try:
            for i in range(20):
                registry.write(add_copies, [row(f"t{part}-{i}")])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert registry.read(count_copies) == 80


def test_a_copy_costs_less_than_300_bytes(registry, url, row):
    registry.write(add_secret, "a" * 16, provider="file", public_key="PEM")
    before, count = size(registry, url), 10_000
    keys = (hashlib.sha256(b"%d" % i).hexdigest()[:16] for i in range(count))
    registry.write(
        add_copies, (row(f"customer-{i:06d}", secret="a" * 16, key_identifier=key) for i, key in enumerate(keys))
    )
    assert (size(registry, url) - before) / count < 300


def size(registry: Registry, url: str | Path) -> int:
    """Bytes of all tables and indexes."""
    if isinstance(url, Path):
        registry.close()  # takes the write-ahead log in; the registry opens the file again when it is used
        return url.stat().st_size
    query = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    with registry.reading() as connection:
        return int(connection.scalar(text(query + " AND relkind = 'r'")))


@pytest.mark.parametrize("page", [{"limit": 10**20}, {"offset": 10**20}, {"limit": -1}, {"offset": -1}], ids=str)
def test_pages_beyond_all_bounds(registry, page):
    with raises(ConfigurationError, "offset", "limit"):
        registry.read(list_copies, **page)


def test_errors_do_not_show_the_values_of_a_statement(registry):
    """Salts are among them, and services log exceptions with their causes."""
    twice = [(999, b"SECRETSALT123456"), (999, b"SECRETSALT123456")]
    with pytest.raises(VariegateError) as failed, registry.writing() as connection:
        connection.execute(insert(copy_salts), [{"copy_id": number, "salt": salt} for number, salt in twice])
    shown = "".join(traceback.format_exception(failed.value))
    assert "IntegrityError" in shown
    assert "SECRETSALT" not in shown


def test_a_new_file_is_its_owners_alone(tmp_path):
    before = os.umask(0o022)
    try:
        for place in (tmp_path / "a.db", f"sqlite:///{tmp_path}/b.db"):
            with Registry(place, create=True) as registry:
                registry.write(put_meta, "key", "value")
                assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    finally:
        os.umask(before)


@pytest.mark.postgres
@pytest.mark.parametrize("level", [r"repeatable\ read", "serializable"])
def test_writers_see_what_was_committed_whatever_the_servers_default(level):
    with postgres_schema() as place:
        url = place + quote(f" -cdefault_transaction_isolation={level}")
        with Registry(url, create=True) as registry:
            registry.write(add_model, model_manifest())
            registry.write(add_spec, "first", SPEC)
            rows = [[make_row(f"t{thread}-{number}") for number in range(20)] for thread in range(4)]

            def work(mine):
                for row in mine:
                    registry.write(add_copies, [row])

            threads = [threading.Thread(target=work, args=(mine,)) for mine in rows]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert registry.read(count_copies) == 80
            assert registry.read(verify_log).ok
