"""What runs, and in which order. No logic."""
