"""Rankers: the contract, the registry and the built-in baselines."""
