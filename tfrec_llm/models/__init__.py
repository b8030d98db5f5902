"""Two towers joined to a model, and its loss."""
