"""How well the pinned w and b of Adjust still suit the catalog, and when to fit them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from convrec.artifacts import ArtifactRef, Store
from convrec.stages.adjust.figures import CUTOFF

REFIT_SHARE = 0.1
"""Share of items without w and b from which a new fit is due."""


@dataclass(frozen=True)
class FitAge:
    """The w and b behind demonstrations.

    Attributes:
        fitted_at: The time of the fit, in UTC.
        samples: Training samples of the fit.
        items: Items of the catalog.
        unfitted: Those that it had not at the time of the fit; they have w = 1 and b = 0.
        gain: Difference in NDCG@20 on validation with and without w and b; None without validation.
    """

    fitted_at: datetime
    samples: int
    items: int
    unfitted: int
    gain: float | None

    @property
    def is_due(self) -> bool:
        """Whether w and b should be fitted again."""
        loses = self.gain is not None and self.gain < 0
        return loses or self.unfitted > REFIT_SHARE * self.items


def fit_age(store: Store, refs: Mapping[str, ArtifactRef]) -> FitAge | None:
    """The fit among the artifacts of a run, by node; None if the run has none."""
    if "adjustment" not in refs:
        return None
    header = store.header(refs["adjustment"].artifact_id)
    fitted = store.read(header.ref.artifact_id, "item_id")["item_id"]
    items = store.read(refs["catalog"].artifact_id, "item_id")["item_id"]
    figures = store.header(refs["demonstrations"].artifact_id).figures
    before, after = (
        figures.get(f"validation NDCG@{CUTOFF} {when}") for when in ("before", "after")
    )
    return FitAge(
        fitted_at=header.created_at,
        samples=int(header.figures["samples"]),
        items=len(items),
        unfitted=int((~items.is_in(fitted.implode())).sum()),
        gain=None if before is None or after is None else float(after) - float(before),
    )
