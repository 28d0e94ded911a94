"""Oracles that answer through another oracle, so that any attack can be run against what they show.

- `voting.MajorityVote`: the majority label of several jittered questions, which averages keyed noise out;
- `rounding.Rounded`: questions on the grid of 8-bit values, as a service that takes image files sees them;
- `jitter`: how a question is changed, and `parse_jitter` for the command line;
- `victim`: a few adversarials for each input, tried on a victim's copy until the first success.

A wrapper's `meter` and `budget` are those of the oracle inside it: every label that the model gave is counted.
"""
