"""LSVCR: joint video and comment recommendation, trained with an LLM's help (arXiv 2403.13574)."""
