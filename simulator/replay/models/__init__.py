"""Model rewards for doubly robust estimators, never on the users that they are applied to."""
