"""The registry: what was issued to whom, in SQLite or PostgreSQL. One row per copy; no keys, no tensors, no torch.

- `variegate.registry.protocol`: `Store`, what the authority asks of a registry, and the rows it holds;
- `variegate.registry.store`: `SqlStore`, the store in a SQLite file or a PostgreSQL database;
- `variegate.registry.verify_log`: `verify_log`, which finds what was changed behind variegate's back;
- `variegate.registry.backup`: `write_backup` and `restore_backup`, from and to either database;
- `variegate.registry.migrations`: `upgrade` and `current_format`, between the formats of the tables;
- `variegate.registry.schema`: the tables, in SQLAlchemy Core; `engine` and `failures`: the databases themselves;
- `state`, `statuses`, `bulk`, `copies`, `records`, `salts`, `api_keys`, `quotas`, `events`, `chain`: one subject each.

Rules:

- uniqueness is the database's: two processes cannot issue two different copies for one (model, buyer, epoch), nor two
  copies with one key;
- a write happens whole or not at all, with its entry in the log, and a failure is one sentence (`failures`);
- no key is stored: a copy's key is derived again from the seller's secret. The salts of copies whose key can be
  forgotten are the only secret bytes here; without the seller's secret they are of no use.
"""
