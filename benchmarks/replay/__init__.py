"""Attacks of ART and of variegate from the same random draws, query by query: one file an attack."""
