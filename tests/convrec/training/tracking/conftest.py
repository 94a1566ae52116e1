from __future__ import annotations

import pytest

from convrec.utils import warn_once
from tests.support.film_student import checkpoint

__all__ = ["checkpoint"]


@pytest.fixture(autouse=True)
def unset_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the developer says where to report to, and no warning was shown."""
    for name in ("TENSORBOARD_LOGGING_DIR", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(warn_once, "_warned", set())
