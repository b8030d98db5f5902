"""A whole run as data."""
