"""`convrec artifacts trace`: one conversation through all stages, on the terminal or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import JsonFile, console, is_stdout, write_json

if TYPE_CHECKING:
    from rich.console import Console

MARKS = {"hit": "bold green", "outside": "red", "seen": "yellow", "repeat": "yellow", "": ""}


def trace(
    conversation: Annotated[str, typer.Option(help="Its context_id or sample_id.")],
    run: Annotated[
        str, typer.Option(help="A run, by id or its start; default: the newest with it.")
    ] = "",
    of: Annotated[
        str, typer.Option(metavar="ID", help="Instead of a run: what this artifact was made from.")
    ] = "",
    json_file: JsonFile = None,
) -> None:
    """Follow one conversation: teacher's lines, links, ratings, scores, demonstration, lists."""
    from convrec.artifacts import Store
    from convrec.artifacts.trace.conversation import trace_conversation
    from convrec.artifacts.trace.lineage_path import find_lineage_path
    from convrec.config import home

    store = Store(home())
    traced = trace_conversation(
        store, conversation, find_lineage_path(store, conversation, run=run, of=of)
    )
    if json_file is not None:
        write_json(traced, json_file)
    if not is_stdout(json_file):
        print_trace(traced, console())


def print_trace(traced: dict[str, Any], shown: Console) -> None:
    """Print what `follow` gives."""
    from rich.text import Text

    run = traced["run"]
    head = f"{traced['context_id']}" + (f", run {run['run_id'][:8]} {run['flow']}" if run else "")
    shown.rule(Text(head))
    for sample in traced["samples"]:
        shown.print(Text(f"{sample['sample_id']} ({sample['split']})", style="bold"))
        shown.print(Text(sample["conversation"]))
        for key in ("seen", "ground_truth"):
            shown.print(Text(f"{key.replace('_', ' ')}: {'; '.join(sample[key]) or '–'}"))
    for role, reason in traced["failures"].items():
        shown.print(Text(f"{role} has nothing: {reason}", style="red"))
    _print_teacher(traced, shown)
    _print_candidates(traced, shown)
    for row in traced["demonstrations"]:
        _heading(traced, "demonstrations", "demonstration", shown)
        shown.print(Text(row["completion"]))
    for one in traced["lists"]:
        title = f"{one['system']} for {one['sample_id']}, draw {one['draw']}"
        _heading(traced, f"generations_{one['system']}", title, shown)
        for line in one["lines"]:
            note = f"  {line['mark']}" if line["mark"] else ""
            shown.print(Text(f"{line['rank']:>3}. {line['text']}{note}", style=MARKS[line["mark"]]))
    if traced["demonstrations"] and not traced["lists"]:
        shown.print("no checkpoint of this line wrote a list for it; lists are of the test split")


def _heading(traced: dict[str, Any], role: str, title: str, shown: Console) -> None:
    from rich.text import Text

    shown.print()
    shown.print(Text(f"{title}  [{traced['artifacts'].get(role, '')}]", style="bold"))


def _print_teacher(traced: dict[str, Any], shown: Console) -> None:
    from rich.table import Table

    if not traced["teacher"]:
        return
    _heading(traced, "teacher_lists", "teacher", shown)
    table = Table("rank", "raw line", "linked to", "how", "score", "next best")
    for line in traced["teacher"]:
        table.add_row(
            str(line["rank"]),
            _cell(line["line"]),
            _cell(line["item"]),
            "; ".join(part for part in (line["link_method"], line["note"]) if part),
            _number(line["link_score"], 1),
            _cell(f"{line['runner_up']} ({line['runner_up_score']:.1f})")
            if line["runner_up"]
            else "",
        )
    shown.print(table)


def _print_candidates(traced: dict[str, Any], shown: Console) -> None:
    from rich.table import Table

    if not traced["candidates"]:
        return
    _heading(traced, "candidates", "candidates", shown)
    table = Table(
        "remapped", "item", "p·I", "p·S", "λ·s_conv", "s_remap", "ratings", "s_reflect", "w", "b",
        "s_final", "final rank",
    )  # fmt: skip
    for row in traced["candidates"]:
        table.add_row(
            str(row["remap_rank"]),
            _cell(row["item"]),
            *(_number(row[key]) for key in ("identity", "similarity", "conversation", "s_remap")),
            ", ".join("–" if rating is None else str(rating) for rating in row["ratings"] or []),
            *(_number(row[key]) for key in ("s_reflect", "weight", "bias", "s_final")),
            "named already" if row["seen"] else str(row["final_rank"] or ""),
        )
    shown.print(table)


def _cell(value: str | None) -> str:
    from rich.markup import escape

    return escape(value or "")


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"
