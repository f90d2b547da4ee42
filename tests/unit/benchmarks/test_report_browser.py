"""The report in a real browser, on a desk and a phone, light and dark: nothing overlaps or leaves the page; a print."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from moi_bench.report.testing import write_samples
from page_layout import SIZES, browser_path, check_layout

THINGS = "main h1, main h2, main h3, main p, main li, main table, main svg, main summary, main svg text"


@pytest.fixture(scope="module")
def browser() -> str:
    return browser_path()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    out = folder / "report.html"
    assert main(["report", *map(str, write_samples(folder)), "--out", str(out)]) == 0
    return out


def run(browser: str, folder: Path, *flags: str) -> str:
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_nothing_overflows_or_overlaps(chromium: Any, report: Path, width: int, scheme: str) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(report.as_uri())
    check_layout(page, THINGS, width, scheme, ".wide", least=100)
    texts = page.locator("svg text").evaluate_all("all => all.map(each => each.getBoundingClientRect().height)")
    assert page.locator("svg").count() == 8
    assert min(texts) >= 10, "text of the plots is too small to read"
    page.close()


def test_it_prints_all_of_it(browser: str, report: Path, tmp_path: Path) -> None:
    pdf = tmp_path / "report.pdf"
    run(browser, tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={pdf}", report.as_uri())
    data = pdf.read_bytes()
    assert data.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 8


def test_it_is_painted(browser: str, report: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs pillow to look at the picture")
    shot = tmp_path / "shot.png"
    run(browser, tmp_path, "--hide-scrollbars", "--window-size=800,2400", f"--screenshot={shot}", report.as_uri())
    with image.open(shot) as picture:
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert len(colours) > 50  # text, lines and dots, not an empty page
