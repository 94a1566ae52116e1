"""Requests per second with the store on, compared with the bare `openai` client, in one run.

    python benchmarks/llm_throughput.py [--requests 4000] [--concurrency 8 16 32] [--rounds 3]

A loopback server in its own process answers at once with a list of 20 titles. Both clients send the
same bodies (about 2 KB); the bare one stores nothing, ours spools with fsync and commits to DuckDB.
Rounds alternate; medians and their ratio are printed. Then the peak memory of a fetch is measured
at growing numbers of requests, each in a fresh process. The last line is JSON. Goals: at least 300
per second, a ratio of at least 0.7, and memory that does not grow with the requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from convrec.artifacts import Store
from convrec.config import Config
from convrec.llm.fetch import fetch
from convrec.llm.requests import LazyRequests, Request

TITLES = "\n".join(f"{n}. A Title of Some Length ({1990 + n})" for n in range(1, 21))

SERVER = """
import json
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from convrec.demo import server
body = json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": TITLES}}],
    "usage": {"prompt_tokens": 500, "completion_tokens": 200, "total_tokens": 700}}).encode()

async def chat(request):
    await request.body()
    return Response(body, media_type="application/json")

listener = server.bind(0)
print(server.base_url(listener), flush=True)
app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
server.create_server(app).run(sockets=[listener])
"""


def body(number: int) -> dict[str, Any]:
    post = f"post {number}: " + "something slow and strange, like the films I grew up with. " * 25
    return {
        "model": "demo-teacher",
        "temperature": 0.0,
        "max_tokens": 600,
        "messages": [
            {"role": "system", "content": "You recommend films. " * 20},
            {"role": "user", "content": post},
        ],
    }


def requests(count: int, salt: str) -> LazyRequests:
    def make() -> Iterator[Request]:
        for number in range(count):
            yield Request(f"c{number}", "bench", {**body(number), "user": salt})

    return LazyRequests(make, count)


def ours(url: str, count: int, concurrency: int, salt: str, home: Path) -> float:
    llm = {"base_url": url, "endpoint": "bench", "max_concurrency": concurrency}
    config = Config.model_validate({"llm": llm})
    store = Store(home)
    started = time.perf_counter()
    fetched = fetch(requests(count, salt), config=config, store=store, stage="recommend")
    elapsed = time.perf_counter() - started
    assert (fetched.sent, fetched.failures) == (count, {}), fetched
    return count / elapsed


def bare(url: str, count: int, concurrency: int, salt: str) -> float:
    import openai

    async def run() -> float:
        http_client = openai.DefaultAsyncHttpxClient(trust_env=False)
        client = openai.AsyncOpenAI(
            api_key="k", base_url=url, max_retries=0, http_client=http_client
        )
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await client.chat.completions.create(**body(number), user=salt)

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(concurrency)))
        elapsed = time.perf_counter() - started
        await client.close()
        return count / elapsed

    return asyncio.run(run())


def peak_mb(url: str, count: int, home: Path) -> float:
    """Peak resident memory of a fresh process that fetches `count` requests."""
    command = [sys.executable, __file__, "--child", url, str(count), str(home)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.strip().splitlines()[-1])


def child(url: str, count: str, home: str) -> None:
    ours(url, int(count), 16, "memory", Path(home))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--concurrency", type=int, nargs="*", default=[8, 16, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="*", default=[2000, 8000, 32000])
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    script = f"TITLES = {TITLES!r}\n{SERVER}"
    serving = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert serving.stdout is not None
    url = serving.stdout.readline().strip()
    figures: dict[str, Any] = {"requests": options.requests, "throughput": [], "memory": []}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for concurrency in options.concurrency:
                rates: dict[str, list[float]] = {"bare": [], "ours": []}
                for number in range(options.rounds):
                    salt = f"{concurrency}/{number}"
                    rates["bare"].append(bare(url, options.requests, concurrency, salt))
                    home = Path(folder) / salt
                    rates["ours"].append(ours(url, options.requests, concurrency, salt, home))
                row = {name: round(median(values), 1) for name, values in rates.items()}
                ratio = round(row["ours"] / row["bare"], 3)
                print(f"concurrency {concurrency}: {row}, ratio {ratio}", flush=True)
                figures["throughput"].append({"concurrency": concurrency, **row, "ratio": ratio})
            for count in options.memory:
                peak = peak_mb(url, count, Path(folder) / f"memory-{count}")
                print(f"{count} requests: peak {peak:.0f} MB", flush=True)
                figures["memory"].append({"requests": count, "peak_mb": round(peak)})
    finally:
        serving.kill()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
