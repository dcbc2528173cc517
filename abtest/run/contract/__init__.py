"""Check that a policy keeps the contract: experiments on its scores."""
