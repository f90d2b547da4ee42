"""MkDocs hooks: tables that are made from the code when the site is built, and pages that lie outside of docs/.

A page has `<!-- table: NAME -->` where the table NAME of docs/tables.py belongs.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
SHELVES = ("src", "plugins", "engines", "export", "benchmarks")
# Files of the repository that are pages, too, at the same place; links to them lead there.
OUTSIDE = ("CONTRIBUTING.md", "examples/tensorrt_cpp/README.md")
_TABLE = re.compile(r"^<!-- table: ([\w-]+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside of docs/."""
    for path in OUTSIDE:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put the tables in place, and let links out of docs/ lead to the pages."""
    tables = _tables()

    def table(found: re.Match[str]) -> str:
        make = tables.TABLES.get(found[1])
        if make is None:
            raise PluginError(f"{page.file.src_uri} asks for table {found[1]!r}; there are: {', '.join(tables.TABLES)}")
        return str(make())

    return _TABLE.sub(table, _links(markdown, page.file.src_uri))


def _links(markdown: str, page: str) -> str:
    if page in OUTSIDE:
        up = "../" * page.count("/")
        return re.sub(rf"\]\({re.escape(up)}docs/", f"]({up}", markdown)
    for path in OUTSIDE:
        markdown = markdown.replace(f"](../{path}", f"]({path}")
    return markdown


def _tables() -> ModuleType:
    """docs/tables.py over this checkout's own packages."""
    sys.path[:0] = [place for shelf in SHELVES if (place := str(ROOT / shelf)) not in sys.path]
    spec = importlib.util.spec_from_file_location("moi_docs_tables", Path(__file__).with_name("tables.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
