"""Attacks on a copy, as a malicious buyer can run them: hard labels, a query budget, no key.

- `hopskipjump`: one attack per file, with `init` and `step`;
- `driver`: runs any attack: budgets, statuses, checkpoints, progress;
- `criteria`, `distances`, `starts`, `boundary_search`, `noise`, `asking`: the parts attacks are built from;
- `catalog`: attacks by name.

Nothing here imports rewriters, keys or the registry: an attacker sees an oracle, never a key.
"""
