"""`convrec artifacts trace`: one conversation through all stages, as text or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import JsonFile, console, open_store, write_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

MARK_STYLES = {"hit": "bold green", "outside": "red", "seen": "yellow", "repeat": "yellow", "": ""}


def trace(
    conversation: Annotated[str, typer.Option(help="A context_id or sample_id.")],
    run: Annotated[
        str, typer.Option(help="A run id or its start; default: the newest run that has it.")
    ] = "",
    of: Annotated[
        str, typer.Option(metavar="ID", help="Trace this artifact and its ancestors, not a run.")
    ] = "",
    json_file: JsonFile = None,
) -> None:
    """Trace one conversation: teacher list, links, ratings, scores, demonstration, lists."""
    from convrec.artifacts.trace.conversation import trace_conversation
    from convrec.artifacts.trace.lineage_path import find_lineage_path

    store = open_store()
    traced = trace_conversation(
        store, conversation, find_lineage_path(store, conversation, run=run, of=of)
    )
    if not write_json(traced, json_file):
        print_trace(traced, console())


def print_trace(traced: dict[str, Any], out: Console) -> None:
    """Print the result of `trace_conversation`."""
    from rich.text import Text

    run = traced["run"]
    head = f"{traced['context_id']}" + (f", run {run['run_id'][:8]} {run['flow']}" if run else "")
    out.rule(Text(head))
    for sample in traced["samples"]:
        out.print(Text(f"{sample['sample_id']} ({sample['split']})", style="bold"))
        out.print(Text(sample["conversation"]))
        for key in ("seen", "ground_truth"):
            out.print(Text(f"{key.replace('_', ' ')}: {'; '.join(sample[key]) or '–'}"))
    for role, reason in traced["failures"].items():
        out.print(Text(f"{role} failed: {reason}", style="red"))
    _print_teacher(traced, out)
    _print_candidates(traced, out)
    for row in traced["demonstrations"]:
        _heading(traced, "demonstrations", "demonstration", out)
        out.print(Text(row["completion"]))
    for one in traced["lists"]:
        title = f"{one['system']} for {one['sample_id']}, draw {one['draw']}"
        _heading(traced, f"generations_{one['system']}", title, out)
        for line in one["lines"]:
            note = f"  {line['mark']}" if line["mark"] else ""
            out.print(
                Text(f"{line['rank']:>3}. {line['text']}{note}", style=MARK_STYLES[line["mark"]])
            )
    if traced["demonstrations"] and not traced["lists"]:
        out.print("no list of a checkpoint: lists are generated for the test split only")


def _heading(traced: dict[str, Any], role: str, title: str, out: Console) -> None:
    from rich.text import Text

    out.print()
    out.print(Text(f"{title}  [{traced['artifacts'].get(role, '')}]", style="bold"))


def _print_teacher(traced: dict[str, Any], out: Console) -> None:
    from rich.table import Table

    if not traced["teacher"]:
        return
    _heading(traced, "teacher_lists", "teacher", out)
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
    out.print(table)


def _print_candidates(traced: dict[str, Any], out: Console) -> None:
    from rich.table import Table

    if not traced["candidates"]:
        return
    _heading(traced, "candidates", "candidates", out)
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
            "seen" if row["seen"] else str(row["final_rank"] or ""),
        )
    out.print(table)


def _cell(value: str | None) -> Text:
    from rich.text import Text

    return Text(value or "")


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"
