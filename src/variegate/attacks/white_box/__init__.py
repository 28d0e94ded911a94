"""White-box reference attacks: what somebody can do who has a model's scores and gradients.

A buyer asks for labels only; these attacks bound from above what a buyer could do who had rebuilt his copies, and they
are the attack of the paper's collusion experiment (section 5.4: DeepFool on the mean of the colluders' copies).

- `deepfool`, `fgsm`, `pgd`, `carlini_wagner`: one attack per file;
- `base`: what they attack (`Differentiable`) and what they have in common;
- `gradients`: counted forward and backward passes in bounded memory;
- `losses`, `steps`: what PGD, FGSM and Carlini-Wagner are built from.

Nothing here imports rewriters: a `Classifier`, a rewritten copy and a mean of copies are all `Differentiable`.
"""
