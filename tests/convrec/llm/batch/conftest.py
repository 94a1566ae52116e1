from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.batch_endpoint import BatchEndpoint, batch_endpoint


@pytest.fixture
def batches(tmp_path: Path) -> Iterator[BatchEndpoint]:
    with batch_endpoint(tmp_path / "endpoint") as endpoint:
        yield endpoint
