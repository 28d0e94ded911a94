"""Rewriters: pure functions of (original, copy key, spec) that make a buyer's copy without training.

- `base`: the spec, the head, the L1-normalised sum, `rewrite` and the copy it returns;
- `spread_spectrum`, `qim`: attractors (paper, section 4.3); `permutation` (section 4.4);
- `catalog`: rewriters by name, and compositions; `calibrate`: what proposing parameters for an original takes.
"""
