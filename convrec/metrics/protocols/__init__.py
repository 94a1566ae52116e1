"""Evaluation protocols: how lines are matched with the ground truth and positions counted."""
