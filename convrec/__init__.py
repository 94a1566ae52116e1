"""convrec: conversations, a changing catalog and a teacher LLM into a small recommender LLM."""

__version__ = "0.1.0"
