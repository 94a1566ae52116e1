"""`convrec ui` serves the reports of the warehouse next to Prefect's pages."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from convrec.config import home
from convrec.errors import InputError
from flows.ui import report_page as answer
from flows.ui import ui
from tasks.report_link import REPORT_PATH, report_link, report_page

REPORT = "report-00112233445566778899"


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=[Route(f"{REPORT_PATH}{{artifact_id}}", answer)]))


def write_report() -> Path:
    folder = home() / "files" / REPORT
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<h1>NDCG</h1>", encoding="utf-8")
    return folder / "report.html"


def test_the_link_of_a_run_opens_the_report(client: TestClient) -> None:
    write_report()
    found = client.get(report_link(REPORT))
    assert found.text == "<h1>NDCG</h1>"
    assert found.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "name", ["report-ffffffffffff", "checkpoint-0011", "..", "report-../../x", "report-%2e%2e"]
)
def test_nothing_else_is_served(client: TestClient, name: str) -> None:
    write_report()
    found = client.get(f"{REPORT_PATH}{name}")
    assert found.status_code == 404


def test_a_missing_report_is_explained(client: TestClient) -> None:
    assert f"Its warehouse is {home()}" in client.get(f"{REPORT_PATH}{REPORT}").text


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", 401),
        ("Basic !", 401),
        ("Bearer dTpw", 401),
        (f"Basic {base64.b64encode(b'u:wrong').decode()}", 401),
        (f"Basic {base64.b64encode(b'u:p').decode()}", 200),
    ],
)
def test_the_password_of_the_server_is_asked_for(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, header: str, status: int
) -> None:
    write_report()
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "u:p")
    found = client.get(report_link(REPORT), headers={"Authorization": header} if header else {})
    assert found.status_code == status
    assert ("WWW-Authenticate" in found.headers) == (status == 401)


def test_other_machines_need_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)
    with pytest.raises(InputError, match="PREFECT_SERVER_API_AUTH_STRING"):
        ui(host="0.0.0.0", port=0)


def test_prefect_cloud_gets_the_command_alone(tmp_path: Path) -> None:
    path = tmp_path / "the report.html"
    assert f"]({REPORT_PATH}{REPORT})" in report_page(REPORT, path)
    with temporary_settings({PREFECT_API_URL: "https://api.prefect.cloud/api/accounts/a"}):
        page = report_page(REPORT, path)
    assert "](" not in page
    assert f"open '{path}'" in page
