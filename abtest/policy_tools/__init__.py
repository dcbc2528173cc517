"""Create a policy file and check a policy against the contract."""
