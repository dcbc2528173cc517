"""Read the tables of real experiments, and what was asked of them."""
