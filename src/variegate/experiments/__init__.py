"""Experiments: each turns a frozen spec into tasks, runs them, and writes one record."""
