"""The last task of a flow: its `summary`, the first artifact in the tab of the run.

What happened, what came out in plain words, what was loaded, and links to everything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from convrec.operations.load_summary import summary_lines
from convrec.utils.markdown import escape, markdown_table
from convrec.utils.progress import format_time
from tasks.diagram import run_pages
from tasks.figures import describe
from tasks.node_tasks import publish_quarantine
from tasks.publish import artifact_page, as_uuid, of_flow_run, publish_first
from tasks.report_link import report_link
from tasks.run import Run
from tasks.verdict import verdict

if TYPE_CHECKING:
    from convrec.artifacts.record import ArtifactRecord

KEY = "summary"

PAGES = {
    "change-report": "what the catalog change did to the demonstrations",
    "evaluation": "all figures, with their intervals",
    "comparison": "the training algorithms side by side",
    "ablation-ladder": "what each part of the data build is worth",
    "quarantine": "the rows of the input that were set aside, with the reasons",
    "lineage": "what everything was made from",
    "change-plan": "what the catalog change was expected to touch and to cost",
}
"""Key of an artifact → what it shows, in the order of the summary."""

STATES = {"completed": "built"}
"""States of a run whose word in JSON is another one."""


class Entry(NamedTuple):
    """An artifact of the run, its name there, and how the run came by it."""

    name: str
    record: ArtifactRecord
    state: str
    seconds: float


@task(name="summary", task_run_name="summary", cache_policy=NO_CACHE, persist_result=False)
def write_summary(page: str) -> None:
    """Write the artifact `summary`; its history is at /v2/artifacts/key/summary."""
    publish_first(page, KEY, "Start here: what came out")


def summarize(run: Run, changes: Sequence[str] = ()) -> None:
    """Write the summary of a run; `changes` are sentences about a catalog change."""
    entries = run_entries(run)
    pages = run_pages(run.refs, [entry.record for entry in entries])
    for entry in entries:
        ref = entry.record.ref
        if ref.kind == "quarantine" and ref.rows and not pages.get(ref.artifact_id):
            publish_quarantine(run.store, ref)  # another server has what its own run published
    sentences = [*changes, *verdict(run)]
    parts = [
        "\n\n".join(sentences) or _happened(entries),
        "### What happened",
        _bullets(filter(None, (_happened(entries) if sentences else "", _requests(run)))),
        *_load_section(run),
        "### More",
        _bullets([*_report(run), *_links(entries, pages)]),
        "### Artifacts",
        _table(entries, pages),
    ]
    write_summary("\n\n".join(part for part in parts if part))


def run_entries(run: Run) -> list[Entry]:
    """What the run has, in order."""
    states = {entry["artifact_id"]: entry for entry in run.entries}
    found = []
    for name, ref in run.refs.items():
        entry: Mapping[str, Any] = states.get(ref.artifact_id, {})
        record = run.store.header(ref.artifact_id)
        found.append(
            Entry(name, record, str(entry.get("state", "cached")), float(entry.get("seconds", 0)))
        )
    return found


def _happened(entries: Sequence[Entry]) -> str:
    """How many artifacts were built, and how many were there."""
    counts = Counter(entry.state for entry in entries)
    seconds = sum(entry.seconds for entry in entries if entry.state == "completed")
    built, cached = counts["completed"], counts["cached"]
    if not built:
        return f"Nothing had to be built: all {cached:,} artifacts came from the cache."
    kept = f"; {cached:,} came from the cache" if cached else ""
    return f"{_counted(built, 'artifact')} built in {format_time(seconds)}{kept}."


def _requests(run: Run) -> str:
    """What was asked of LLMs, and what it cost."""
    llm = run.summary()["llm"]
    if not llm["requests"]:
        return ""
    billed = f"${llm['usd']:.4f}" if llm["usd"] else "nothing"
    return (
        f"LLM requests: {llm['requests']:,} needed, {llm['from_ledger']:,} from the store, "
        f"{llm['sent']:,} sent; {billed} billed to this run."
    )


def _load_section(run: Run) -> list[str]:
    """What ingest read, kept and set aside."""
    kinds = ("catalog", "conversations", "quarantine")
    if any(kind not in run.refs for kind in kinds):
        return []
    lines = summary_lines(run.store, {kind: run.refs[kind].artifact_id for kind in kinds})
    shown = [f"{'    ' if line.startswith(' ') else ''}- {escape(line.strip())}" for line in lines]
    return ["### What was loaded", "\n".join(shown)]


def _report(run: Run) -> list[str]:
    """The HTML report: a link that works in `convrec ui`, and its file."""
    if run.report is None:
        return []
    link = report_link(run.refs["report"].artifact_id)
    opened = f"[**Open the HTML report**]({link})" if link else "The HTML report"
    where = "served by `make ui` and `convrec ui`; the file is " if link else "is the file "
    return [f"{opened}{': ' if link else ' '}{where}`{run.report}`"]


def _links(entries: Sequence[Entry], pages: Mapping[str, str]) -> list[str]:
    """Links to what this run published, and to the set-aside rows of an earlier run."""
    with get_client(sync_client=True) as client:
        found = {
            str(artifact.key): (artifact_page(artifact.id), artifact.description)
            for artifact in of_flow_run(client, as_uuid(flow_run.id))
        }
    for entry in entries:
        if entry.name == "quarantine" and entry.record.ref.rows:
            found.setdefault(entry.name, (pages.get(entry.record.ref.artifact_id, ""), ""))
    links = [f"[{key}]({found[key][0]}): {text}" for key, text in PAGES.items() if key in found]
    others = [
        f"[{escape(key)}]({page}): {escape(description or '')}"
        for key, (page, description) in found.items()
        if key not in PAGES and key not in (KEY, "report")
    ]
    return [link for link in [*links, *others] if "]()" not in link]


def _table(entries: Sequence[Entry], pages: Mapping[str, str]) -> str:
    rows = []
    for entry in entries:
        title, page = entry.name.replace("_", " "), pages.get(entry.record.ref.artifact_id, "")
        built = entry.state == "completed"
        rows.append(
            (
                f"[{escape(title)}]({page})" if page else escape(title),
                describe(entry.record.ref),
                STATES.get(entry.state, entry.state),
                format_time(entry.seconds) if built else "",
            )
        )
    return markdown_table(("artifact", "what it is", "state", "took"), rows)


def _bullets(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'} {'was' if count == 1 else 'were'}"
