"""Token vectors of a text, or of a user and an item, to what a model reads."""
