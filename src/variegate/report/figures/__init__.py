"""Figures, a module for each kind of record. They need matplotlib; none uses pyplot or its global state."""
