"""What both training stages share: checkpoints, the metrics log, launching and resuming."""
