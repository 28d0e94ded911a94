"""White-box reference attacks: what somebody can do who has a model's scores and gradients.

A buyer only gets labels; these attacks bound from above what buyers could do who had rebuilt their copies, and they are
the attack of the paper's collusion experiment (section 5.4: DeepFool on the mean of the colluders' copies).

- `deepfool`, `fgsm`, `pgd`, `carlini_wagner`: one attack per file;
- `base`: what they attack (`Differentiable`) and what they have in common;
- `gradients`: counted forward and backward passes in bounded memory;
- `toolbox`: losses and steps, from which PGD, FGSM and Carlini-Wagner are built.

Nothing here imports rewriters: a `Classifier`, a rewritten copy and a mean of copies are all `Differentiable`.
"""
