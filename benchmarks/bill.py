"""The bill of Reddit-v2 as a whole, calculated from the requests to a few real conversations.

    python benchmarks/bill.py [--contexts 383013] [--data FOLDER] [--teacher gpt-4o]

The prompts are those of the profile `reddit-v2` for real conversations of Reddit-v2, by default the
samples in `../shared/data/reddit_v2`. Their mean tokens per request, times --contexts, times the
prices in `convrec/llm/prices.toml` are the bill; nothing is sent. The judge is shown random items
of the catalog. Prints a markdown table of requests, tokens and US dollars, through the Batch API
and one by one, for the teacher and three settings of the judge; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from convrec.artifacts import Store
from convrec.catalog.load import load_catalog
from convrec.config import Config, load
from convrec.llm.endpoint import endpoint_name
from convrec.llm.estimate import estimate_cost
from convrec.llm.requests import Request
from convrec.stages.ingest.read import read_conversations
from convrec.stages.recommend.step import teacher_messages
from convrec.stages.reflect.prompt import expected_response_bytes, judge_body

DATA = Path(__file__).resolve().parents[2] / "shared/data/reddit_v2"

JUDGES = {
    "judge: 30 candidates, gpt-4o-mini (profile `reddit-v2`)": ("gpt-4o-mini", 30, 2),
    "judge: 100 candidates once, gpt-4o-mini": ("gpt-4o-mini", 100, 1),
    "judge: 100 candidates once, by the teacher (the paper)": ("gpt-4o", 100, 1),
}
"""Model, candidates of a request, and passes."""


def bill(
    requests: Iterable[Request],
    stage: str,
    expected: Callable[[Mapping[str, Any]], float],
    contexts: float,
    config: Config,
) -> dict[str, float]:
    """Tokens and US dollars of such requests for `contexts` conversations."""
    asked = list(requests)
    with tempfile.TemporaryDirectory() as home:
        total = estimate_cost(
            asked, config=config, store=Store(Path(home)), stage=stage, expected_bytes=expected
        ).times(contexts / len({request.owner for request in asked}))
    middle = (total.usd_low + total.usd_high) / 2
    return {
        "requests": round(contexts * len(asked) / len({request.owner for request in asked})),
        "prompt_tokens": total.prompt_tokens,
        "completion_tokens": total.completion_tokens,
        "usd_batch": middle / 2,
        "usd_live": middle,
    }


def bills(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The teacher's bill, and the judge's with each of JUDGES."""
    config = load(
        "reddit-v2",
        {
            "ingest.path": str(options.data),
            "recommend.model": options.teacher,
            "llm.base_url": "https://api.openai.com/v1",
        },
    )
    samples = pl.DataFrame(read_conversations(config)[0])
    talks = dict(samples.select("context_id", "conversation").iter_rows())
    catalog = load_catalog(options.data / "catalog.csv")[0]
    lines = [
        config.llm_line_format.format(*item) for item in catalog.select("title", "year").iter_rows()
    ]
    rng, endpoint = random.Random(7), endpoint_name(config)
    found: dict[str, dict[str, float]] = {}
    body = {"model": options.teacher, "max_tokens": config.recommend.max_tokens}
    asked = [
        Request(owner, endpoint, {**body, "messages": teacher_messages(talk, config)})
        for owner, talk in talks.items()
    ]
    list_bytes = config.list_length * (4 + sum(map(len, lines)) / len(lines))
    found[f"teacher: {options.teacher}"] = bill(
        asked, "recommend", lambda body: list_bytes, options.contexts, config
    )
    for name, (model, top, passes) in JUDGES.items():
        reflect = config.reflect.model_copy(update={"model": model, "top": top, "passes": passes})
        some = config.model_copy(update={"reflect": reflect})
        asked = [
            Request(owner, endpoint, judge_body(talk, rng.sample(lines, top), some))
            for owner, talk in talks.items()
            for _ in range(passes)
        ]
        found[name] = bill(
            asked,
            "reflect",
            lambda body: expected_response_bytes(body, config.reflect.scale),
            options.contexts,
            some,
        )
    return found


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """The bills as markdown."""
    lines = [
        "| requests to | requests | prompt tokens | completion tokens | USD, Batch | USD, live |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        tokens = [f"{row[f'{kind}_tokens'] / 1e6:,.0f}M" for kind in ("prompt", "completion")]
        dollars = [f"{row[f'usd_{kind}']:,.0f}" for kind in ("batch", "live")]
        cells = [name, f"{row['requests']:,}", *tokens, *dollars]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contexts", type=int, default=383_013)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--teacher", default="gpt-4o")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"{options.data} is missing; name a folder in the Reddit-v2 schema by --data")
    found = bills(options)
    print(table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
