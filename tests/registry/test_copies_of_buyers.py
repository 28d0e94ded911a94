"""The copies of many buyers at once, on each database."""

from variegate.registry.bulk import add_copies
from variegate.registry.copies import CHUNK_ROWS, change_status, copies_of_buyers
from variegate.types import CopyStatus


def test_the_filters_hold(registry, row):
    registry.write(add_copies, [row("acme"), row("acme", epoch=2), row("bolt"), row("cold")])
    registry.write(change_status, [row("acme").copy_id], CopyStatus.REVOKED)

    def found(buyers, **filters):
        return sorted((each.buyer, each.epoch) for each in registry.read(copies_of_buyers, "net", buyers, **filters))

    assert found(["acme", "bolt", "acme", "nobody"]) == [("acme", 1), ("acme", 2), ("bolt", 1)]
    assert found(["acme", "bolt"], epochs={1}) == [("acme", 1), ("bolt", 1)]
    assert found(["acme", "bolt"], status=CopyStatus.ACTIVE) == [("acme", 2), ("bolt", 1)]
    assert found([]) == []
    assert list(registry.read(copies_of_buyers, "second", ["acme"])) == []


def test_more_buyers_than_one_statement_takes(registry, row):
    names = [f"b{number}" for number in range(CHUNK_ROWS + 3)]
    registry.write(add_copies, (row(name) for name in names))
    assert {each.buyer for each in registry.read(copies_of_buyers, "net", names)} == set(names)
