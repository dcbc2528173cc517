"""Recommend videos and comments jointly, trained with an LLM's help (LSVCR, arXiv 2403.13574)."""
