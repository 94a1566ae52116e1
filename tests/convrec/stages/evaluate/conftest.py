from __future__ import annotations

import pytest

from convrec.artifacts import Store
from tests.support.evaluated_run import EvaluatedRun, make_evaluated_run


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> EvaluatedRun:
    """A run that the tests of a module share and must not change."""
    return make_evaluated_run(Store(tmp_path_factory.mktemp("run")))


@pytest.fixture
def evaluated_run(shared_run: EvaluatedRun) -> EvaluatedRun:
    """A copy of `shared_run` in which a test can replace roles."""
    return shared_run.copy()
