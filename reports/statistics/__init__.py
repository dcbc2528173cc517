"""Pure numerics of online experiments; imports nothing of ours."""
