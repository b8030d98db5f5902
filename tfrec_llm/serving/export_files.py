"""Names of the files that lie beside the graph in a version of an export."""

ITEMS_FILE = "assets.extra/items.parquet"
EMBEDDINGS_FILE = "assets.extra/item_embeddings.npy"
QUERIES_FILE = "assets.extra/sample_queries.npy"
