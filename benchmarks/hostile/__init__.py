"""Try hostile and broken inputs as a new user might meet them."""
