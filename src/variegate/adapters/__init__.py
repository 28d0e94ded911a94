"""Other libraries' attacks on variegate's oracles, and variegate's copies as other libraries' models.

- `closest`: what an attack has queried, counted row by row, and the closest adversarial among it: one rule for all
  libraries and for variegate's own attacks;
- `art`: the Adversarial Robustness Toolbox; `foolbox`: Foolbox. Both are optional; a missing one is one sentence;
- `library`: a library's attack as one of variegate's, run, seeded and counted by the same driver; which are installed;
- `modules`: modules that stand between a library and a model.

Adapters stand on the attacker's side: they see an oracle (or, white-box, scores and gradients), never a key.
"""
