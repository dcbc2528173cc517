"""Checks of randomisation, balance and tails."""
