"""Fine-tune the sequential model to recommend: stage 2."""
