"""Which items stand near each other: by clicks, and by words where there are none."""
