"""Settings whose allowed values extensions may add to: input formats, similarity, algorithms.

The code behind a value is registered with the stage that uses it (`register_format`,
`register_similarity`, `register_algorithm`), which also adds its name here.
"""

from __future__ import annotations


class Choices:
    """The allowed values of one setting."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def add(self, name: str) -> None:
        """Allow one more value."""
        if name not in self.names:
            self.names.append(name)

    def check(self, value: str) -> str:
        """The value itself. Raises ValueError if it is not allowed."""
        if value in self.names:
            return value
        *first, last = map(repr, self.names)
        raise ValueError(f"Input should be {' or '.join(filter(None, (', '.join(first), last)))}")


INPUT_FORMATS = Choices("demo", "reddit-v2", "inspired", "redial", "table")
SIMILARITIES = Choices("tfidf", "sentence-transformers", "openai")
FACT_SOURCES = Choices("")
ALGORITHMS = Choices("rank_grpo", "grpo", "gspo", "dr_grpo", "dapo")
TRACKERS = Choices(
    *("tensorboard", "mlflow", "wandb", "trackio", "azure_ml", "clearml", "codecarbon", "comet_ml"),
    *("dagshub", "dvclive", "flyte", "kubeflow", "neptune", "swanlab", "all", "none"),
)
"""The trackers of transformers; `all` are those that are installed."""
