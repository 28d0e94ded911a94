"""The registry: what was issued to whom. One row per copy; no keys, no tensors, no torch.

- `variegate.registry.protocol`: `Store`, what the authority asks of a registry, and the rows it holds;
- `variegate.registry.sqlite`: `SqliteStore`, the embedded store in one file;
- `variegate.registry.schema`: the tables, in SQLAlchemy Core.

Rules:

- uniqueness is the database's: two processes cannot issue two different copies for one (model, buyer, epoch);
- a write happens whole or not at all, and a failure is one sentence (`variegate.registry.failures`);
- nothing here is secret: a copy's key is derived again from the seller's secret, never stored.
"""
