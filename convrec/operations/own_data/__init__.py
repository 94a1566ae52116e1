"""`convrec init`: a profile for the user's own conversations and catalog."""
