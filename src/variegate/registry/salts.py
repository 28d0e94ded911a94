"""The salts of copies whose key can be forgotten: the only secret bytes in a registry.

Forgetting erases the row. SQLite overwrites the erased bytes (`secure_delete`) and its write-ahead log is emptied, as
soon as nobody reads an older state. PostgreSQL keeps the erased row in its files until the table `copy_salts` is
vacuumed, and in its own log for longer; that, backups and what the file system keeps are out of the registry's reach.

The entry about a copy's issue is bound to its salt, so that a changed salt is found, and the entry about forgetting it
keeps the salt's digest (`variegate.registry.chain.salt_digest`), so that the salts issued with it can still be checked.
"""

from sqlalchemy import Connection, delete, select

from variegate.errors import ConflictError
from variegate.registry.chain import salt_digest
from variegate.registry.copies import copy_number
from variegate.registry.events import append
from variegate.registry.schema import copies, copy_salts


def get_salt(connection: Connection, copy_id: str) -> bytes | None:
    """See `Store.get_salt`."""
    salt = connection.scalar(select(copy_salts.c.salt).join(copies).where(copies.c.copy_id == copy_id))
    return None if salt is None else bytes(salt)


def forget_salt(connection: Connection, copy_id: str, *, at: int) -> None:
    """Erase the salt of a copy inside a writing transaction; one that is forgotten already changes nothing."""
    number = copy_number(connection, copy_id)
    salt = get_salt(connection, copy_id)
    if salt is not None:
        connection.execute(delete(copy_salts).where(copy_salts.c.copy_id == number))
        body = {"copy": copy_id, "salt": salt_digest(copy_id, salt)}
        append(connection, at=at, kind="salt_forgotten", body=body)
    elif not connection.scalar(select(copies.c.salted).where(copies.c.id == number)):
        raise ConflictError(
            f"copy {copy_id} has no salt: its key comes from the seller's secret alone and cannot be forgotten"
        )
