"""Users and items to embeddings."""
