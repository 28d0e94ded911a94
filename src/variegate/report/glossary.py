"""What the words of a report mean, for readers who meet them for the first time."""

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "attack success",
        (
            "Of the inputs that the attacker's copy classifies correctly, the part for which the attack found an "
            "adversarial on that copy (|B| / |A|). A low rate can mean masking: the attack got lost, which is not "
            "protection."
        ),
    ),
    ("replication", "Of those adversarials, the part that the victim's copy gets wrong too (|B and C| / |B|)."),
    (
        "replication, conditioned",
        (
            "The same, counted only over inputs that the victim's copy classifies correctly when clean. Without this "
            "condition, inputs that the victim gets wrong anyway count as replicated."
        ),
    ),
    ("replication, same label", "Of those adversarials, the part that the victim's copy gives the same wrong label."),
    ("end to end", "Of all attacked inputs, the part that ends in a fooled victim (|B and C| / |A|)."),
    (
        "replication at s",
        (
            "Victims fooled at x + s (x' - x), where x is the clean input and x' the adversarial: s = 1 is the "
            "adversarial itself, s = 2 goes twice as far. An attacker who expects the protection goes further at once."
        ),
    ),
    (
        "replication within a norm",
        (
            "The largest rate over s with a norm of at most epsilon: the security curve. It compares kinds of copies "
            "at equal visibility, where equal s favours copies whose adversarials are small."
        ),
    ),
    (
        "stops protecting",
        "The smallest norm within which half of the victims are fooled [by the interval's upper end, by its lower].",
    ),
    (
        "norm kept",
        (
            "Median norm of the adversarials on the copies, divided by the median norm on identical copies of the "
            "original. Below 1, each copy is easier to fool than the original was: the price of the strength."
        ),
    ),
    ("identical copies", "Control: every buyer has the same model. Replication should be 100 %."),
    ("independent training", "Control: every buyer has a model trained from scratch, with another seed."),
    (
        "random noise",
        (
            "Control: random noise of the same norm in place of adversarials. It shows what the rate counts where "
            "there is no attack."
        ),
    ),
    (
        "95 % interval",
        (
            "Pairs share images and copies, so intervals come from a two-way bootstrap over images and copies, and are "
            "never narrower than Wilson's over the images; for a single pair Wilson's is used."
        ),
    ),
)
"""What each rate and control means, for readers who have not seen it before."""

ATTACK_GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "success",
        (
            "Of the inputs that the target classifies correctly, the part for which the attack found an adversarial, "
            "with Wilson's 95 % interval. A low rate can mean masking: the attack got lost, which is not protection."
        ),
    ),
    (
        "confirmed",
        (
            "Of the adversarials found, those that the target gets wrong when it is asked for each once more: as it is "
            "kept (rounded, if questions were), without votes or jitter."
        ),
    ),
    ("query", "One question for one label of one input; where an answer is a vote, each of its questions counts."),
    ("norm", "The size of the perturbation, in units of the input values; medians and percentiles are of successes."),
    (
        "overshoot",
        (
            "The part of a perturbation's length that lies past the boundary: what bisection towards the clean input "
            "takes back. An attack that stops far past the boundary replicates more on other copies."
        ),
    ),
    ("hard label", "The attack sees the label of what it asks, and nothing else, as a buyer does."),
    (
        "white box",
        (
            "The attack sees the target's scores and gradients, which no buyer needs to have. Its queries are no "
            "labels, so the figure shows its median norm as a dashed line: what a hard-label attack strives for."
        ),
    ),
)
"""What the words of a page about attacks mean."""
