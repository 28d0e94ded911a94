"""The registry: what was issued to whom, in SQLite or PostgreSQL. One row per copy; no keys, no tensors, no torch.

- `variegate.registry.registry`: `Registry`, the handle that gives transactions to the functions of the other modules;
- `rows`: what goes in and comes out; `schema`: the tables, in SQLAlchemy Core; `engine`: the databases themselves;
- `copies` and `bulk`: reading copies and changing their status; recording many at once;
- `records`: models, specs, policies, seller's secrets and API keys;
- `log`: the chained log; `verify` and `replay` find what was changed behind variegate's back;
- `backup`: `write_backup` and `restore_backup`, from and to either database;
- `migrations`: `upgrade` and `current_format`, between the formats of the tables.

Rules:

- uniqueness is the database's: two processes cannot issue two different copies for one (model, buyer, epoch), nor two
  copies with one key;
- a write happens completely or not at all, with its entry in the log, and a failure is one sentence;
- no key is stored: a copy's key is derived again from the seller's secret. The salts of copies whose key can be
  forgotten are the only secret bytes here; without the seller's secret they are useless.
"""
