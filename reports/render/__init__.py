"""Write results as terminal text, HTML and CSV."""
