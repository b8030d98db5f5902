"""Built parts to trained weights."""
