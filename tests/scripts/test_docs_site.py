"""The documentation site: its order, its links, and that it builds without a warning."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from convrec.config import ROOT

pytest.importorskip("mkdocs")


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "scripts" / "docs_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_ordered_as_the_index_lists_them(site: ModuleType) -> None:
    index = (
        "# Documentation\n\n## Guides: do a task\n\n| I want to | page |\n|---|---|\n"
        "| run | [First run](guides/first-run.md) |\n| recipe | [Recipe](guides/gpus.md#recipe) |\n"
        "\n## Internals: change it\n\n| topic | page |\n|---|---|\n"
        "| environment | [Contributing](../CONTRIBUTING.md) |\n"
    )
    assert site.navigation(index)[1:3] == [
        {"Guides": [{"First run": "guides/first-run.md"}]},
        {"Internals": [{"Contributing": "project/contributing.md"}]},
    ]


def test_links_lead_within_the_site(site: ModuleType) -> None:
    def links(text: str, page: str = "guides/data.md") -> str:
        return str(site.site_links(text, page))

    assert links("[a](../../README.md#install)") == "[a](../project/overview.md#install)"
    assert links("![a](../images/run.png)") == "![a](../images/run.png)"
    assert links("see [`x.toml`](../../profiles/x.toml).") == "see `x.toml`."
    assert links("```\n[a](../../x.toml)\n```") == "```\n[a](../../x.toml)\n```"
    assert links("[a](https://example.org) [b](#here)") == "[a](https://example.org) [b](#here)"
    readme = links("[a](docs/guides/data.md) [b](SECURITY.md)", "project/overview.md")
    assert readme == "[a](../guides/data.md) [b](security.md)"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Every page is in the index, and every link and anchor leads somewhere."""
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-3000:]
    for page in ("index.html", "guides/serving/index.html", "project/catalogs/index.html"):
        assert (tmp_path / page).is_file()
