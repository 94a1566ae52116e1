"""Requests per second of `convrec serve`, compared with `recommend` called one by one.

    python benchmarks/serve.py CHECKPOINT [--requests 200] [--clients 16] [--batch 16] [--alone 20]
        [--rounds 3]

Serves a checkpoint of the warehouse (CONVREC_HOME) in a process of its own. CLIENTS clients at a
time ask for REQUESTS lists for conversations of the test split; then one client asks for a fifth of
them, one after the other; then `recommend` is called for ALONE conversations, which loads the model
each time, as the command does. Rounds alternate; prints medians, and the median of the rounds'
ratios. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from statistics import median
from typing import Any

import openai

from convrec.artifacts import Store
from convrec.artifacts.lineage import checkpoint_conversations
from convrec.config import home
from convrec.serving.recommend import recommend


def start(checkpoint: str, batch: int) -> tuple[subprocess.Popen[str], str]:
    arguments = ["serve", checkpoint, "--port", "0", "--batch", str(batch), "--queue", "1000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    found = re.match(r"(http://\S+): ", process.stdout.readline())
    if found is None:
        sys.exit("the server did not start")
    return process, found[1]


async def ask(url: str, model: str, texts: list[str], clients: int) -> dict[str, float]:
    """Lists per second, and the median and 95th percentile of a request's seconds."""
    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    free, seconds = asyncio.Semaphore(clients), []

    async def one(text: str) -> None:
        async with free:
            started = time.perf_counter()
            messages: Any = [{"role": "user", "content": text}]
            await client.chat.completions.create(model=model, messages=messages)
            seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*map(one, texts))
    wall = time.perf_counter() - started
    await client.close()
    seconds.sort()
    return {
        "per_second": len(texts) / wall,
        "p50": median(seconds),
        "p95": seconds[int(0.95 * (len(seconds) - 1))],
    }


def call(store: Store, checkpoint: str, texts: list[str]) -> dict[str, float]:
    seconds = []
    for text in texts:
        started = time.perf_counter()
        recommend(store, checkpoint, text)
        seconds.append(time.perf_counter() - started)
    seconds.sort()
    p95 = seconds[int(0.95 * (len(seconds) - 1))]
    return {"per_second": len(seconds) / sum(seconds), "p50": median(seconds), "p95": p95}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--alone", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    store = Store(home())
    checkpoint = store.full_id(options.checkpoint)
    conversations = checkpoint_conversations(store, checkpoint, "split", "conversation")
    if conversations is None:
        sys.exit(f"{checkpoint} has no conversations in its lineage")
    texts = conversations.filter(split="test")["conversation"].unique(maintain_order=True).to_list()
    texts = (texts * (options.requests // len(texts) + 1))[: options.requests]
    process, url = start(checkpoint, options.batch)
    rounds: dict[str, list[dict[str, float]]] = {"served": [], "one_client": [], "recommend": []}
    try:
        call(store, checkpoint, texts[:1])  # imports
        for _ in range(options.rounds):
            rounds["served"].append(asyncio.run(ask(url, checkpoint, texts, options.clients)))
            few = texts[: max(1, options.requests // 5)]
            rounds["one_client"].append(asyncio.run(ask(url, checkpoint, few, 1)))
            rounds["recommend"].append(call(store, checkpoint, texts[: options.alone]))
    finally:
        process.terminate()
        process.wait(60)
    results: dict[str, Any] = {
        way: {name: round(median(row[name] for row in rows), 4) for name in rows[0]}
        for way, rows in rounds.items()
    }
    for way in ("one_client", "recommend"):
        ratios = [
            a["per_second"] / b["per_second"]
            for a, b in zip(rounds["served"], rounds[way], strict=True)
        ]
        results[f"served_over_{way}"] = round(median(ratios), 2)
    for way, row in results.items():
        print(f"{way}: {row}")
    sizes = {name: getattr(options, name) for name in ("requests", "clients", "batch")}
    print(
        json.dumps({**results, **sizes, "exit_code": process.returncode, "cores": os.cpu_count()})
    )


if __name__ == "__main__":
    main()
