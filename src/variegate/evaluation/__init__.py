"""Measures how far copies prevent a replication attack, and at what cost.

- `replication`: who is fooled by whose adversarials, at which scale and norm;
- `stats`: counts with 95 % intervals (Wilson, two-way bootstrap);
- `accuracy`: what rewriting costs on clean inputs (the paper's Table 1);
- `copies`: copies of an experiment, from a seed instead of a seller's secret;
- `recipes`: whole audits, resumable, that end in a JSON record; `calibration`: a rewriter's parameters by measurement.
"""
