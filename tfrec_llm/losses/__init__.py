"""What a training step minimises, and which negatives count in it."""
