"""Servable models: exports, their check, and loading them again."""
