"""Split, rank and measure for offline evaluation."""
