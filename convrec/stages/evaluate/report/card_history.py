"""The evaluations of a model card, each appended once; the rest of the card never changes."""

from __future__ import annotations

from convrec.stages.evaluate.report.card_metadata import DataOrigin, results, with_results
from convrec.stages.evaluate.report.card_metrics import Measured, metrics_text

NOT_MEASURED = "Not measured yet. Run `convrec evaluate`."
END_OF_METRICS = "<!-- later evaluations are added above this line -->"


def append_evaluation(card: str, measured: Measured, data: DataOrigin) -> str:
    """The card with an evaluation; the card as it is if it has that evaluation.

    A card without the line that ends the metrics, such as one that was edited, gets it at its end.
    """
    if measured.artifact_id in card:
        return card
    own = {system: measured.systems[system] for system in measured.own}
    new = results(own, measured.samplers, data, measured.artifact_id)
    card = with_results(card, new).replace(f"{NOT_MEASURED}\n\n", "", 1)
    section = metrics_text(measured)
    if END_OF_METRICS in card:
        return card.replace(END_OF_METRICS, f"{section}\n\n{END_OF_METRICS}", 1)
    return f"{card.rstrip()}\n\n## Later evaluation\n\n{section}\n"
