from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from flows.ablate_sft_data import ablate_sft_data


def states(summary: dict[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for entry in summary["stages"]:
        found.setdefault(entry["kind"], set()).add(entry["state"])
    return found


def test_the_ablation_is_cached_and_asks_nobody_twice(home: Path, small: dict[str, Any]) -> None:
    first = ablate_sft_data(profile="demo", overrides=small)
    made = states(first)
    assert made["ablation"] == made["search"] == {"completed"}
    assert len([e for e in first["stages"] if e["kind"] == "candidates"]) == 3
    store = Store(home)
    ablation = store.read(store.headers("ablation")[0].ref.artifact_id)
    assert ablation["step"].unique(maintain_order=True).to_list() == [
        "raw",
        "fuzzy",
        "similar",
        "talk",
        "judged",
        "adjusted",
    ]
    second = ablate_sft_data(profile="demo", overrides=small)
    assert all(found == {"cached"} for found in states(second).values())
    assert second["llm"]["sent"] == 0
    assert second["llm"]["from_ledger"] == first["llm"]["requests"]
