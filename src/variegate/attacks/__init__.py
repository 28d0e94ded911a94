"""Attacks on a copy, as a malicious buyer can run them: hard labels, a query budget, no key.

- `boundary`, `cgba`, `geoda`, `hopskipjump`, `rays`, `surfree`: one attack a file, with `init` and `step`;
- `white_box`: attacks that see scores and gradients, for reference;
- `driver`: runs any attack: budgets, statuses, checkpoints, progress;
- `criteria`, `distances`, `starts`, `boundary_search`, `probing`, `subspaces`, `noise`, `noisy_probes`, `checks`: the
  parts that attacks are built from;
- `oracles`: wrappers that go under any attack: votes, rounding, a victim of a few tries;
- `overshoot`: how far past the boundary an attack stopped;
- `catalog`, `parameters`, `presets`: attacks by name, their hyper-parameters as text, named settings.

Nothing here imports rewriters, keys or the registry: an attacker sees an oracle, never a key.
"""
