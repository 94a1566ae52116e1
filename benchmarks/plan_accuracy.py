"""How close `convrec plan` comes to the bill, on the embedded demo, in fresh warehouses.

    python benchmarks/plan_accuracy.py [--seeds 7 8] [--train 100 400]

Each row plans with nothing stored, runs recommend, plans again, runs reflect, and compares both
ends of each range with the ledger. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from convrec.config import Config, load
from convrec.llm.ledger import ledger_rows
from convrec.pipeline.plan import make_plan
from convrec.pipeline.reparse import response_nodes
from convrec.stages.responses import fetch_responses


def billed(store: Store, stage: str) -> float:
    return sum(row["usd"] for row in ledger_rows(store) if row["stage"] == stage)


def buy(config: Config, store: Store, stage: str) -> None:
    for node, _, ctx in response_nodes(config, store):
        if node.stage == stage:
            fetch_responses(node.step, ctx, run="bench", spent_usd=0.0, progress=lambda *_: None)


def measure(seed: int, train: int) -> dict[str, Any]:
    contexts = {"train": train, "validation": 20, "test": 20}
    config = load("demo", {"seed": seed, "ingest.contexts": contexts})
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        before = make_plan(config, store)["llm"]
        buy(config, store, "recommend")
        between = make_plan(config, store)["llm"]
        buy(config, store, "reflect")
        bills = {"teacher": billed(store, "recommend"), "judge": billed(store, "reflect")}
    plans = {"teacher": ("teacher", before), "judge": ("judge", between)}
    plans["judge, nothing stored"] = ("judge", before)
    ratios = {
        name: [round(plan[role][end] / bills[role], 3) for end in ("usd_low", "usd_high")]
        for name, (role, plan) in plans.items()
    }
    return {"seed": seed, "train": train, **ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[7, 8])
    parser.add_argument("--train", type=int, nargs="*", default=[100, 400])
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        for train in options.train:
            rows.append(measure(seed, train))
            print(rows[-1], flush=True)
    print(json.dumps({"low and high end over the bill": rows}))


if __name__ == "__main__":
    main()
