"""Metrics by id over the full corpus, with intervals and slices, and their report."""
