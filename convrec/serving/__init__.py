"""Use a trained checkpoint: recommend for one conversation, or export it."""
