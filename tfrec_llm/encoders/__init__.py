"""Language models that turn texts into vectors, and the store of these vectors."""
