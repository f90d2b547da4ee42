"""The report in a real browser: no sideways scrolling on a phone, legible plots, and a print."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from moi.cli import main
from moi_bench.report.testing import write_samples

PHONE_PX = 390
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_MEASURE = """
<iframe id="f" style="width:%dpx;height:800px;border:0" srcdoc="%s"></iframe><pre id="out">none</pre><script>
onload = () => {
  const page = document.getElementById("f").contentDocument, root = page.documentElement, wide = root.clientWidth
  const boxes = [...page.querySelectorAll("main *")].filter(e => !e.closest(".wide table"))
  const over = boxes.filter(e => e.getBoundingClientRect().right > wide + 1).map(e => e.tagName)
  const small = [...page.querySelectorAll("svg text")].map(e => e.getBoundingClientRect().height)
  document.getElementById("out").textContent = JSON.stringify(
    {scroll: root.scrollWidth, width: wide, over, least: Math.min(...small),
     plots: page.querySelectorAll("svg").length})
}
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = os.environ.get("MOI_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no browser: install chromium (apt-get install chromium), or set MOI_BROWSER")
    return found


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


def test_a_phone_shows_it_without_sideways_scrolling(browser: str, report: Path, tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(_MEASURE % (PHONE_PX, html.escape(report.read_text(), quote=True)))
    dom = run(browser, tmp_path, "--hide-scrollbars", "--virtual-time-budget=3000", "--dump-dom", wrapper.as_uri())
    found = re.search(r'<pre id="out">(.*?)</pre>', dom)
    assert found is not None
    measured = json.loads(html.unescape(found[1]))
    assert measured["width"] == PHONE_PX
    assert measured["scroll"] <= PHONE_PX
    assert measured["over"] == []
    assert measured["plots"] == 8
    assert measured["least"] >= 10, "text of the plots is too small to read"


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
