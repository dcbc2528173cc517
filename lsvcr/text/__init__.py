"""Language models, prompts and text embeddings."""
