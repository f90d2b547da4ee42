"""The documentation site is built as `make docs` builds it, and what comes out is judged."""

from __future__ import annotations

import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest

import moi
import moi_engines
from moi_sglang import compatibility_table as sglang
from moi_tensorrt_llm import compatibility as tensorrt_llm
from moi_vllm import compatibility_table as vllm
from page_layout import SIZES, check_layout

pytest.importorskip("mkdocs", reason="the site is built by MkDocs: pip install 'mixture-of-inputs[docs]'")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
OUTSIDE = {"CONTRIBUTING.md", "examples/tensorrt_cpp/README.md"}  # pages that lie outside of docs/


class Html(HTMLParser):
    """Ids, links, what is loaded, and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.loaded, self.words = set[str](), list[str](), list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("id", "name"):
                self.ids.add(value or "")
            elif key == "href" and tag == "a":
                self.links.append(value or "")
            elif key in ("href", "src"):
                self.loaded.append(value or "")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return squeezed("".join(self.words))


def squeezed(text: str) -> str:
    """Without white space, and without what Markdown takes away."""
    return re.sub(r"[\s`*\\]", "", text)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    out = tmp_path_factory.mktemp("site")
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def site(built: Path) -> dict[str, Html]:
    """Every page by its address."""
    pages = built.rglob("*.html")
    return {page.relative_to(built).as_posix(): Html(page.read_text(encoding="utf-8")) for page in pages}


def test_every_page_is_in_the_navigation(site: dict[str, Html]) -> None:
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")} | OUTSIDE
    addresses = {re.sub(r"\.md$", ".html", re.sub(r"README\.md$", "index.html", page)) for page in pages}
    assert addresses == set(site) - {"404.html"}
    shown = {urldefrag(link)[0] for link in site["index.html"].links}
    assert addresses - {"index.html"} <= shown


def test_links_and_anchors_resolve(site: dict[str, Html]) -> None:
    wrong = []
    for address, page in site.items():
        if address == "404.html":  # its links begin at the root of a server
            continue
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            target, anchor = urldefrag(link)
            place = os.path.normpath(os.path.join(os.path.dirname(address), target)) if target else address
            place = "index.html" if place == "." else place
            if place not in site or (unquote(anchor) and unquote(anchor) not in site[place].ids):
                wrong.append(f"{address}: {link}")
    assert not wrong


def test_pages_load_nothing_from_elsewhere(site: dict[str, Html]) -> None:
    assert not [(address, each) for address, page in site.items() for each in page.loaded if "//" in each]


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_nothing_overflows_or_overlaps(
    chromium: Any, built: Path, site: dict[str, Html], width: int, scheme: str
) -> None:
    things = ", ".join(f"article {tag}" for tag in ("h1", "h2", "h3", "p", "li", "pre", "table", "summary"))
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    for address in sorted(site):
        if address != "404.html":
            page.goto((built / address).as_uri())
            check_layout(page, things, width, scheme, ".md-typeset__scrollwrap", least=3)
    page.close()


@pytest.mark.parametrize("name", [f"{each.__name__}.{name}" for each in (moi, moi_engines) for name in each.__all__])
def test_the_reference_has_every_public_name_with_its_docstring(site: dict[str, Html], name: str) -> None:
    value = pkgutil.resolve_name(name)
    pages = [page for address, page in site.items() if address.startswith("reference/")]
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        assert any(name in page.text for page in pages)
        return
    (page,) = (page for page in pages if name in page.ids)
    for paragraph in re.split(r"\n\s*\n", inspect.getdoc(value) or ""):
        first, *_ = paragraph.strip().splitlines()
        for part in re.split(r" {2,}", first.strip()):
            assert squeezed(part) in page.text, part


def test_policies_have_their_declared_parameters(site: dict[str, Html]) -> None:
    page = site["policies.html"]
    for policy in moi.load_policies():
        if policy.name in page.ids:  # others are of packages that are installed here
            for each in policy.parameters:
                assert squeezed(f"{each.name}{each.default:g}{each.allowed}{each.help}") in page.text
    assert {policy.name for policy in moi.load_policies()} & page.ids >= {"token", "moi", "direct", "soft", "selar"}
    assert all(squeezed(f"every policy{each.name}{each.default:g}") in page.text for each in moi.policies.BOUNDS)


def test_troubleshooting_has_every_refusal_with_a_way_out(site: dict[str, Html]) -> None:
    text, tables = site["troubleshooting.html"].text, docs_tables()
    for row in (*sglang.CONFLICTS, *vllm.CONFLICTS):
        _, reason, way_out = tables._without(row)
        assert reason == row.reason
        assert way_out
        assert squeezed(row.flag + reason + way_out) in text, row.flag
    for row in sglang.VARIABLES:
        assert squeezed(f"{row.flag}{row.reason}do not set it") in text
    tables = (tensorrt_llm.ARGUMENTS, (tensorrt_llm.PREEMPTION,), tensorrt_llm.MODEL, tensorrt_llm.STEP)
    for row in (row for table in tables for row in table):
        assert squeezed(f"{row.reason}set {row.flag}") in text, row.flag


def docs_tables() -> ModuleType:
    """docs/tables.py, which is no package's."""
    spec = importlib.util.spec_from_file_location("moi_docs_tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ways_out_are_of_flags_that_there_are() -> None:
    assert set(docs_tables()._WAYS_OUT) <= {row.flag for row in (*sglang.CONFLICTS, *vllm.CONFLICTS)}


def test_tables_import_no_host() -> None:
    code = (
        "import runpy, sys\ntables = runpy.run_path('docs/tables.py')['TABLES']\n"
        "made = [make() for make in tables.values()]\nassert all(made)\n"
        "print([each for each in ('sglang', 'vllm', 'tensorrt_llm', 'transformers') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
