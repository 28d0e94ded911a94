"""Counting queries against a copy's quota: one statement, which the database makes atomic. Not part of the log."""

from sqlalchemy import Connection, select, text

from variegate.errors import ConfigurationError, QuotaError
from variegate.registry.copies import copy_number
from variegate.registry.protocol import MOST_ROWS
from variegate.registry.schema import quotas

_SPEND = text(
    "INSERT INTO quotas (copy_id, used) "
    "SELECT id, CAST(:queries AS BIGINT) FROM copies WHERE copy_id = :copy_id AND :queries <= :quota "
    "ON CONFLICT (copy_id) DO UPDATE SET used = quotas.used + excluded.used "
    "WHERE quotas.used + excluded.used <= :quota RETURNING used"
)


def spend_quota(connection: Connection, copy_id: str, queries: int, *, quota: int) -> int:
    """See `Store.spend_quota`."""
    if not 0 <= queries <= MOST_ROWS or not 0 <= quota <= MOST_ROWS:
        raise ConfigurationError(f"queries and quota must be from 0 to {MOST_ROWS}; got {queries} and {quota}")
    used = connection.execute(_SPEND, {"copy_id": copy_id, "queries": queries, "quota": quota}).scalar()
    if used is not None:
        return quota - int(used)
    left = max(quota - used_quota(connection, copy_id), 0)
    raise QuotaError(
        f"copy {copy_id} has {left} of {quota} queries left, and {queries} were asked for; none was counted"
    )


def used_quota(connection: Connection, copy_id: str) -> int:
    """See `Store.used_quota`."""
    number = copy_number(connection, copy_id)
    return int(connection.scalar(select(quotas.c.used).where(quotas.c.copy_id == number)) or 0)
