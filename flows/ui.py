"""`convrec ui` and `make ui`: the Prefect server with its UI, and the reports that runs link to.

A browser opens no file from a page of a server, so the same server serves the reports of the
warehouse: a link of a run's page is relative and works under every address of the server.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convrec.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

REPORT_ID = re.compile(r"report-[0-9a-f]{4,64}")

NOT_HERE = (
    "This server has no such report. Its warehouse is {home} (CONVREC_HOME); the run's page names "
    "the file of the report and the machine that made it has it."
)


def ui(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for a free port.")] = 4200,
) -> None:
    """Serve the Prefect UI over all runs, with the reports of the warehouse.

    If PREFECT_SERVER_API_AUTH_STRING (user:password) is set, the UI and the reports ask for it.
    """
    from convrec.config import home
    from convrec.serving.endpoint.app import LOOPBACK_NAMES
    from convrec.serving.endpoint.server import listen

    if host not in LOOPBACK_NAMES and not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        raise InputError(
            f"--host {host} would show runs and reports to everyone on the network; set "
            "PREFECT_SERVER_API_AUTH_STRING to user:password, or leave --host at 127.0.0.1"
        )
    listener = listen(host, port)
    address = f"http://{host}:{listener.getsockname()[1]}"
    os.environ.setdefault("PREFECT_UI_API_URL", f"{address}/api")  # read when Prefect is imported
    import uvicorn
    from prefect.server.api.server import create_app
    from starlette.routing import Route

    from tasks.report_link import REPORT_PATH

    app = create_app(final=True)
    app.router.routes.insert(0, Route(f"{REPORT_PATH}{{artifact_id}}", report_page))
    typer.echo(f"Prefect UI: {address}, with the reports of {home()}; Ctrl-C stops it")
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
    with suppress(KeyboardInterrupt):  # uvicorn has stopped and passes the signal on
        server.run(sockets=[listener])


async def report_page(request: Request) -> Response:
    """The HTML of a report."""
    from starlette.responses import FileResponse, PlainTextResponse

    from convrec.config import home

    if not is_allowed(request.headers.get("authorization", "")):
        headers = {"WWW-Authenticate": 'Basic realm="convrec"'}
        return PlainTextResponse("The server's user and password are needed.", 401, headers)
    file = report_file(request.path_params["artifact_id"])
    if file is None:
        return PlainTextResponse(NOT_HERE.format(home=home()), 404)
    return FileResponse(file, media_type="text/html", headers={"Cache-Control": "no-cache"})


def report_file(artifact_id: str) -> Path | None:
    """The file of a report in the warehouse's folder; the database is not opened."""
    from convrec.config import home

    if not REPORT_ID.fullmatch(artifact_id):
        return None
    file = home() / "files" / artifact_id / "report.html"
    return file if file.is_file() else None


def is_allowed(authorization: str) -> bool:
    """Whether a request has the password of the Prefect server, if there is one."""
    password = os.environ.get("PREFECT_SERVER_API_AUTH_STRING", "")
    if not password:
        return True
    scheme, _, encoded = authorization.partition(" ")
    try:
        given = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(given, password.encode())
