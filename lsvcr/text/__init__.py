"""Read texts with a language model: embeddings, prompts, the store on disk."""

EMBEDDED = "embedded"
"""In place of a Hugging Face model's name: the small one, trained on the log's own texts."""

IGNORED = -100
"""The label of a place at which nothing is to be predicted."""
