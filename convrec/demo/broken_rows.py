"""The unusable rows among the demo's posts."""

from __future__ import annotations

from calendar import timegm
from collections.abc import Mapping
from typing import Any


def broken_rows(words: Mapping[str, Any]) -> list[Any]:
    """Errors of real exports: one row for each reason to quarantine a row."""
    good = {
        "sample_id": "demo_broken",
        "prompt": [{"role": "user", "content": f"USER: {words['post']}"}],
        "seen_titles": [words["seen"]],
        "groundtruth_with_release_year": [words["wanted"]],
        "created_utc": timegm((2021, 6, 1, 12, 0, 0)),
    }
    truth, prompt = "groundtruth_with_release_year", "prompt"
    return [
        {key: value for key, value in good.items() if key != truth}
        | {"sample_id": "demo_broken_no_ground_truth"},
        good | {"sample_id": "demo_broken_empty_ground_truth", truth: []},
        good | {"sample_id": "demo_broken_year", truth: [[words["wanted"][0], "20o6"]]},
        good
        | {"sample_id": "demo_broken_empty_post", prompt: [{"role": "user", "content": "USER: "}]},
        good | {"sample_id": "demo_broken_date", "created_utc": "last June"},
        "[deleted]",
    ]
