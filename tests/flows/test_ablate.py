from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from flows.ablate_sft_data import ablate_sft_data
from tests.support.summaries import states_by_kind


def test_a_second_ablation_is_cached_and_sends_nothing(home: Path, small: dict[str, Any]) -> None:
    first = ablate_sft_data(profile="demo", overrides=small)
    states = states_by_kind(first)
    assert states["ablation"] == states["search"] == {"completed"}
    assert len([e for e in first["stages"] if e["kind"] == "candidates"]) == 3
    store = Store(home)
    ablation = store.read(store.headers("ablation")[0].ref.artifact_id)
    assert ablation["step"].unique(maintain_order=True).to_list() == [
        "raw",
        "fuzzy",
        "similar",
        "talk",
        "described",
        "judged",
        "adjusted",
    ]
    second = ablate_sft_data(profile="demo", overrides=small)
    assert {entry["state"] for entry in second["stages"]} == {"cached"}
    assert second["llm"]["sent"] == 0
    assert second["llm"]["from_ledger"] == first["llm"]["requests"]
