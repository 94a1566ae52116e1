"""Evaluation protocols: how lists are matched with their ground truth and positions are counted."""
