"""The page: one HTML document, style and figures included, nothing loaded from anywhere."""

from __future__ import annotations

from pathlib import Path

from moi_bench.report.content import sections
from moi_bench.report.results import Results
from moi_eval.extras import require

# By which moi report knows its own pages.
MARK = '<meta name="generator" content="moi report">'


def is_page(path: Path) -> bool:
    """Whether a file is a page that moi report wrote."""
    return MARK.encode() in path.read_bytes()[:1000]


def page(results: Results) -> str:
    """The whole document; ImportError that names the extra without Jinja2 or matplotlib."""
    require("bench", "jinja2", "matplotlib")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("moi_bench.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"versions": _versions, "commit": _commit}
    template = environment.get_template("page.html")
    machines = [{"driver": None, "commit": None, "note": None, **row} for row in results.machines]
    return template.render(mark=MARK, sections=sections(results), machines=machines)


def _versions(row: dict[str, dict[str, str | None]]) -> str:
    return ", ".join(f"{name} {number}" for name, number in row["versions"].items() if number)


def _commit(name: str | None) -> str:
    """The first digits, and whether it was changed."""
    commit, *dirty = (name or "unknown").split("-")
    return "-".join([commit[:12], *dirty])
