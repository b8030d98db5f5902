"""Small models and data for tests; nothing else of the package imports them."""
