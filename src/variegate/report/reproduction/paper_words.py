"""What the paper says of its figures, in few words: they come without numbers."""

COSINES = {
    ("H1", ""): "wide, the mean quite high",
    ("H2", "spread_spectrum"): "spread out below 1, a small peak near 1 is left",
    ("H3", "spread_spectrum"): "nearer to 0 than H2",
    ("H2", "qim"): "a sharp peak, higher than that of H1; mean near 0",
    ("H3", "qim"): "a higher peak near 0 than H2",
}
"""(curve, rewriter) -> section 5.3, on clean images."""

BINDING = {
    "F1": "negative",
    "F2": "about symmetric around 0",
    "G1": "negative",
    "G2": "negative, mean a little above G1, peak a little lower",
    "G3": "like F2",
}
"""Curve -> section 5.4."""

COLLUSION = (
    "The paper: replication rises with r; the attractors' influence shrinks linearly, but with them (B2, C2) less "
    "replicates than by independent training alone (B1, C1)."
)
"""Section 5.6."""
