"""Runs a flow in this process and shows it in the terminal: `convrec run` and `evaluate`."""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console

from flows.console import SHOWN_SLICES, ConsoleListener, set_aside_text, slices_table, systems_table
from flows.interruption import Interruption
from flows.server import API_URL, UI_COMMAND, TemporaryServer, profile_url

if TYPE_CHECKING:
    from uuid import UUID

    from prefect import Flow

STOP_SECONDS, INTERRUPTED_STOP_SECONDS = 5.0, 1.0
"""Seconds that the temporary server may take to store the last events of a run."""


def run_in_terminal(
    load_flow: Callable[[], Flow[..., dict[str, Any]]],
    parameters: dict[str, Any],
    out: Console,
    drain_seconds: float,
) -> dict[str, Any]:
    """Run a flow and print its artifacts, figures and page. Returns its summary.

    Ctrl-C and SIGTERM end this process within seconds, with exit code 130. `load_flow` imports the
    flow; the temporary server starts in the meantime.
    """
    interruption = Interruption(drain_seconds)
    interruption.start()
    try:
        server = _start_server(interruption)
        flow = load_flow()
        interruption.on_signal = _stop_sending
        if server:
            server.wait_until_healthy()
        summary, warned = _run(flow, parameters, out, interruption)
    except BaseException as error:
        if interruption.requested:
            raise interruption.finish(error) from None
        raise
    finally:
        interruption.stop()
    _print_summary(summary, warned, out, ui="" if server else os.environ.get(API_URL, ""))
    return summary


def _start_server(interruption: Interruption) -> TemporaryServer | None:
    """A temporary server, unless PREFECT_API_URL or the Prefect profile names one.

    It is stopped at exit, after Prefect has sent its last logs and events.
    """
    configured = os.environ.get(API_URL) or profile_url()
    if configured or "prefect" in sys.modules:  # if Prefect is loaded, its settings are final
        atexit.register(_at_exit, interruption)
        return None
    server = TemporaryServer()
    atexit.register(_at_exit, interruption, server)
    interruption.keep.add(server.pid)
    os.environ[API_URL] = server.url
    return server


def _stop_sending() -> None:
    from convrec.llm.dispatch_thread import stop_sending

    stop_sending()


def _at_exit(interruption: Interruption, server: TemporaryServer | None = None) -> None:
    if not interruption.requested:
        if server:
            server.stop(STOP_SECONDS)
        return
    if server:
        has_run = interruption.cancel is not None
        server.stop(min(INTERRUPTED_STOP_SECONDS, interruption.remaining) if has_run else 0.0)
    interruption.exit()


def _run(
    flow: Flow[..., dict[str, Any]],
    parameters: dict[str, Any],
    out: Console,
    interruption: Interruption,
) -> tuple[dict[str, Any], int]:
    """The summary of the run, and how many warnings were shown."""
    # TRL and transformers still call each other by deprecated names.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    from prefect.context import SyncClientContext
    from prefect.flow_engine import run_flow
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.utilities.callables import get_call_parameters

    from tasks.listener import listener

    arguments = get_call_parameters(flow.fn, (), parameters)
    with ConsoleListener(out, interruption.check, _load_lines) as shown:
        token = listener.set(shown)
        try:
            with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
                with interruption.shielded(), SyncClientContext.get_or_create() as context:
                    serialized = flow.serialize_parameters(arguments)
                    flow_run = context.client.create_flow_run(flow, parameters=serialized)
                    interruption.cancel = partial(cancel_flow_run, flow_run.id)
                summary: dict[str, Any] = run_flow(flow, flow_run, arguments)  # type: ignore[assignment]
        finally:
            listener.reset(token)
    return summary, shown.warnings


def _load_lines(ids: Mapping[str, str]) -> list[str]:
    from convrec.artifacts import Store
    from convrec.config import home
    from convrec.operations.load_summary import summary_lines

    return summary_lines(Store(home()), ids)


def cancel_flow_run(flow_run_id: UUID) -> None:
    """Mark a flow run as cancelled, unless it has completed."""
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(flow_run_id).state
        if state is None or not (state.is_completed() or state.is_cancelled()):
            cancelled = Cancelled(message="Interrupted in the terminal (Ctrl-C or SIGTERM).")
            client.set_flow_run_state(flow_run_id, cancelled, force=True)


def _print_summary(summary: dict[str, Any], warned: int, out: Console, ui: str) -> None:
    from prefect.settings import get_current_settings

    from convrec.artifacts import Store
    from convrec.config import home
    from convrec.stages.evaluate.held_out_facts import reachable_text
    from convrec.utils.sample_sizes import few_test_posts

    if summary["metrics"]:
        out.print(systems_table(summary["metrics"], summary["test_set"]))
        if summary["test_set"].get("in_catalog", 1) < 1:
            out.print(reachable_text(summary["test_set"]), soft_wrap=True)
        for what in SHOWN_SLICES:
            if table := slices_table(summary["slices"], what):
                out.print(table)
        if text := few_test_posts(max(summary["test_set"].get("units", {}).values(), default=0)):
            out.print(f"warning: {text}", soft_wrap=True)
            warned += 1
    quarantine = next(
        (entry["artifact_id"] for entry in summary["stages"] if entry["kind"] == "quarantine"), None
    )
    if quarantine and (text := set_aside_text(summary["stages"], Store(home()).read(quarantine))):
        out.print(text, soft_wrap=True, markup=False)
    out.print(f"warnings: {f'{warned:,}, shown above' if warned else 'none'}")
    llm = summary["llm"]
    out.print(
        f"LLM requests: {llm['requests']:,} needed, {llm['from_ledger']:,} from the store, "
        f"{llm['sent']:,} sent, {llm['usd']:.4f} USD",
    )
    if summary["report"]:
        out.print(f"report: {summary['report']}", soft_wrap=True)
    ui = (ui and get_current_settings().ui_url) or f"`{UI_COMMAND}`, then http://127.0.0.1:4200"
    page = f"{ui}/v2/runs/flow-run/{summary['flow_run_id']}"
    out.print(f"this run in the Prefect UI: {page}", soft_wrap=True)
