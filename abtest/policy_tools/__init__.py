"""Create a policy file."""
