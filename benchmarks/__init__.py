"""What measures us, side by side in one run."""
