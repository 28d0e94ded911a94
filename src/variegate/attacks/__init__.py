"""Attacks on a copy, as a malicious buyer can run them: hard labels, a query budget, no key.

- `boundary`, `cgba`, `geoda`, `hopskipjump`, `rays`, `surfree`: one attack per file, with `init` and `step`;
- `white_box`: attacks that see scores and gradients, for reference;
- `base`: what an attack is, what it works on and what it returns; `driver` runs any attack: budgets, statuses,
  checkpoints, progress;
- `toolbox`, `subspaces`: what attacks are built from;
- `overshoot`: how far past the boundary an attack stopped;
- `catalog`: attacks by name, their hyper-parameters as text, presets.

Nothing here imports rewriters, keys or the registry: an attacker sees an oracle, never a key.
"""
