"""Stage 2: fine-tune the sequential model to recommend."""
