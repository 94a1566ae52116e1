"""What an exported model folder has besides the model: files that need no convrec."""
