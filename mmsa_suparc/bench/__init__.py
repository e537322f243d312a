"""Comparing models by a file: what to run, running it, and what it says."""
