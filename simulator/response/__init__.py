"""What people do with what is shown: the built-in world's truth, or learned from a log."""
