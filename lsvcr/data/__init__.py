"""Read a log as LSVCR sees it: histories, batches, negatives, the inventory of texts."""
