"""Predict how long a person looks at a comment: texts, likes, and what the person read before."""
