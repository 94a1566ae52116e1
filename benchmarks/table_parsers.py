"""What `table.py` shows of benchmarks that print results in their own form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import Cost, figure, ratio

Figures = list[dict[str, Any]]


def one(what: str, value: float, goal: float | None, unit: str = "×", **how: bool) -> Any:
    return figure(what, [value], goal, unit, **how)


def rerun(data: dict[str, Any]) -> Figures:
    costs = {name: [Cost(*pair, 0.0) for pair in data[name]] for name in ("re-run", "nothing")}
    what = "unchanged re-run of the demo vs. eight cached no-op tasks"
    return [ratio(what, costs["re-run"], costs["nothing"], 1.5)]


def title_linking(data: dict[str, Any]) -> Figures:
    times = [("", "seconds"), (", without years", "seconds, undated")]
    return [
        one(f"{data['titles']:,} titles{how} vs. {name}", data[key][f"both / {name}"], 2)
        for how, key in times
        if key in data
        for name in ("cdist, 1 worker", "cdist, all cores")
    ]


def full_build(data: dict[str, Any]) -> Figures:
    full, edit = data["full"], data["edit"]
    what = f"full build of {data['contexts']:,} contexts"
    return [
        one(f"{what} (wall clock)", full["seconds"], 1800, "s"),
        one(f"peak memory of the {what}", full["peak_mb"], 6000, "MB"),
        one("edit of its catalog (wall clock)", edit["seconds"], 25, "s"),
        one("edit / full build (wall clock)", data["share"], 0.2),
        one("requests sent by the edit", edit["sent"], 0, "requests"),
    ]


def rank_grpo_step(data: dict[str, Any]) -> Figures:
    return [
        one(f"Rank-GRPO step vs. GRPO step, β={beta}", data[f"step_beta_{beta}"]["ratio"], 1.1)
        for beta in ("0", "0.001")
    ]


def sampling(data: dict[str, Any]) -> Figures:
    return [one("tokens per second vs. `generate`", data["ratio"], 1.6, least=True)]


def scoring(data: dict[str, Any]) -> Figures:
    what = f"{data['lists']:,} lists vs. plain loops"
    return [one(what, data["factor_by_cpu_seconds"], None)]


def llm_throughput(data: dict[str, Any]) -> Figures:
    made = []
    for row in data["throughput"]:
        at = f"at {row['concurrency']} in flight"
        made.append(one(f"requests per second {at}", row["ours"], 300, "per second", least=True))
        made.append(one(f"vs. the bare client {at}", row["ratio"], 0.7, least=True))
    for row in data["memory"]:
        made.append(one(f"peak memory of {row['requests']:,} requests", row["peak_mb"], None, "MB"))
    return made


READINGS: dict[str, Callable[[dict[str, Any]], Figures]] = {
    reading.__name__: reading
    for reading in (
        rerun,
        title_linking,
        full_build,
        rank_grpo_step,
        sampling,
        scoring,
        llm_throughput,
    )
}
