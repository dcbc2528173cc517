"""Prepare what an arm serves: load, train, check and wrap its policies."""
