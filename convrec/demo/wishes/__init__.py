"""The demo in which a bag of words is not enough: posts are conjunctions with negation."""
