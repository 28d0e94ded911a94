"""Other libraries' attacks on variegate's oracles, and variegate's copies as other libraries' models.

- `closest`: what an attack has asked, counted row by row, and the closest adversarial among it: one rule for all;
- `watched`: the same rule for variegate's own attacks;
- `art`: the Adversarial Robustness Toolbox; `foolbox`: Foolbox. Both are optional; a missing one is one sentence;
- `library`: a library's attack as one of variegate's, run and counted by the same driver; `seeds`: its randomness;
- `versions`: what is installed.

Adapters stand on the attacker's side: they see an oracle (or, white-box, scores and gradients), never a key.
"""
