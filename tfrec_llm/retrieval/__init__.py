"""Indexes of candidate embeddings: the best k for a query, exactly or nearly."""
