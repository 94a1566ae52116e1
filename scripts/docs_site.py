"""Hooks of mkdocs: the pages of the project's top folder, and the order of docs/README.md.

The pages are written for readers of the repository. The site has those of the top folder too, under
`project/`, with links that lead to each other; a link to a file that is no page becomes its text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
INDEX = "docs/README.md"
PROJECT_PAGES = {
    "README.md": "project/overview.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
    "catalog/README.md": "project/catalogs.md",
}
"""A page of the repository outside docs/ → its place in the site."""

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
_ROW = re.compile(r"^\|.*\[(?P<title>[^\]]+)\]\((?P<target>[^)#]+)(?P<anchor>#[^)]*)?\)", re.M)
_FENCE = re.compile(r"(^```.*?^```)", re.M | re.S)


def on_config(config: Any) -> Any:
    """Order the pages as docs/README.md does."""
    config.nav = navigation((ROOT / INDEX).read_text(encoding="utf-8"))
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the top folder."""
    for source, place in PROJECT_PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links lead within the site."""
    return site_links(markdown, page.file.src_uri)


def navigation(index: str) -> list[Any]:
    """The sections of docs/README.md with the pages of their tables, each page once."""
    nav: list[Any] = [{"Start": ["README.md", {"Overview": PROJECT_PAGES["README.md"]}]}]
    parts = re.split(r"^## (.*)$", index, flags=re.M)
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        pages = []
        for row in _ROW.finditer(text):
            if not row["anchor"]:
                pages.append({row["title"]: _place(_resolve(INDEX, row["target"]))})
        nav.append({heading.partition(":")[0]: pages})
    nav.append({"Changes": [{"Changelog": PROJECT_PAGES["CHANGELOG.md"]}]})
    return nav


def site_links(markdown: str, page: str) -> str:
    """The text of a page with the links of the repository as links of the site."""
    source = next((s for s, place in PROJECT_PAGES.items() if place == page), f"docs/{page}")

    def rewrite(match: re.Match[str]) -> str:
        mark, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        found = _resolve(source, target)
        if found not in PROJECT_PAGES and not found.startswith("docs/"):
            return text
        place = os.path.relpath(_place(found), PurePosixPath(page).parent)
        return f"{mark}[{text}]({place}{anchor})"

    parts = _FENCE.split(markdown)
    return "".join(part if i % 2 else _LINK.sub(rewrite, part) for i, part in enumerate(parts))


def _resolve(source: str, target: str) -> str:
    """The path in the repository of a link on a page."""
    return os.path.normpath(PurePosixPath(source).parent / target)


def _place(path: str) -> str:
    """Where the site has a page of the repository."""
    return PROJECT_PAGES.get(path) or path.removeprefix("docs/")
