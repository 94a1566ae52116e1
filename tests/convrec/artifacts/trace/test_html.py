from __future__ import annotations

import io
import json
import re
from html import unescape

from rich.console import Console

from convrec.artifacts import Store
from convrec.artifacts.trace.conversation import trace_conversation
from convrec.artifacts.trace.html import render_trace
from convrec.artifacts.trace.lineage_path import find_lineage_path
from convrec.cli.trace import print_trace
from tests.support.traced_conversation import HOSTILE, put_artifacts


def test_posts_and_titles_are_escaped(store: Store) -> None:
    put_artifacts(store)
    page = str(render_trace(trace_conversation(store, "s0", find_lineage_path(store, "s0"))))
    assert "<script" not in page
    shown = unescape(re.sub(r"<[^>]+>", "", page))
    assert shown.count(HOSTILE) >= 5  # post, raw line, link, candidate, demonstration, list
    assert '<span class="hit">Ronin (1998)</span> <em>hit</em>' in page


def test_missing_stages_are_left_out(store: Store) -> None:
    ids = put_artifacts(store)
    line = find_lineage_path(store, "s0", of=ids["teacher_lists"])
    traced = trace_conversation(store, "s0", line)
    assert "Candidates" not in render_trace(traced)
    assert json.loads(json.dumps(traced))["candidates"] == []


def test_the_terminal_shows_text_literally(store: Store) -> None:
    put_artifacts(store)
    out = io.StringIO()
    traced = trace_conversation(store, "s0", find_lineage_path(store, "s0"))
    traced["samples"][0]["conversation"] = "[bold]not markup[/bold] [/red]"
    print_trace(traced, Console(file=out, width=250))
    assert "[bold]not markup[/bold] [/red]" in out.getvalue()
    assert HOSTILE in out.getvalue()
