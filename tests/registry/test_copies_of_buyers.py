"""The copies of many buyers at once, on each database."""

from variegate.registry.copies_of_buyers import copies_of_buyers
from variegate.registry.statuses import CHUNK_ROWS
from variegate.types import CopyStatus


def test_the_filters_hold(store, row):
    store.add_copies([row("acme"), row("acme", epoch=2), row("bolt"), row("cold")])
    store.change_status([row("acme").copy_id], CopyStatus.REVOKED)

    def found(buyers, **filters):
        return sorted((each.buyer, each.epoch) for each in copies_of_buyers(store, "net", buyers, **filters))

    assert found(["acme", "bolt", "acme", "nobody"]) == [("acme", 1), ("acme", 2), ("bolt", 1)]
    assert found(["acme", "bolt"], epochs={1}) == [("acme", 1), ("bolt", 1)]
    assert found(["acme", "bolt"], status=CopyStatus.ACTIVE) == [("acme", 2), ("bolt", 1)]
    assert found([]) == []
    assert list(copies_of_buyers(store, "second", ["acme"])) == []


def test_more_buyers_than_one_statement_takes(store, row):
    names = [f"b{number}" for number in range(CHUNK_ROWS + 3)]
    store.add_copies(row(name) for name in names)
    assert {each.buyer for each in copies_of_buyers(store, "net", names)} == set(names)
