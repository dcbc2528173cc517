"""Check randomisation, balance and tails."""
