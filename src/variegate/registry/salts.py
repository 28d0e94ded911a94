"""The salts of copies whose key can be forgotten: the only secret bytes in a registry.

Forgetting erases the row. SQLite overwrites the erased bytes (`secure_delete`) and its write-ahead log is emptied;
what a server's own log, a backup or the file system keep of older states is out of the registry's reach.
"""

from sqlalchemy import Connection, delete, select

from variegate.errors import ConflictError
from variegate.registry.copies import copy_number
from variegate.registry.events import append
from variegate.registry.schema import copies, copy_salts

__all__ = ["forget_salt", "get_salt"]


def get_salt(connection: Connection, copy_id: str) -> bytes | None:
    """See `Store.get_salt`."""
    salt = connection.scalar(select(copy_salts.c.salt).join(copies).where(copies.c.copy_id == copy_id))
    return None if salt is None else bytes(salt)


def forget_salt(connection: Connection, copy_id: str, *, at: int) -> None:
    """See `Store.forget_salt`."""
    number = copy_number(connection, copy_id)
    if connection.execute(delete(copy_salts).where(copy_salts.c.copy_id == number)).rowcount == 0:
        salted = connection.scalar(select(copies.c.salted).where(copies.c.id == number))
        raise ConflictError(
            f"the key of copy {copy_id} is forgotten already"
            if salted
            else f"copy {copy_id} has no salt: its key comes from the seller's secret alone and cannot be forgotten"
        )
    append(connection, at=at, kind="salt_forgotten", body={"copy": copy_id})
