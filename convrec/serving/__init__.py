"""Using a trained checkpoint: recommend for one conversation, export it."""
