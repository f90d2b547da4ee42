"""`moi report`: figures on the page are those of the files; what cannot be read is refused by name."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from moi_bench.report import svg
from moi_bench.report.tables import PAPER_CHANGE, memory_table
from moi_bench.report.testing import write_samples

VOID = {"meta", "br", "link", "img", "input"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_samples(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def page(files: list[Path]) -> str:
    out = files[0].parent / "deep" / "report.html"
    assert main(["report", *map(str, files), "--out", str(out)]) == 0
    return out.read_text()


class Balanced(HTMLParser):
    """Every tag that opens closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(page: str) -> None:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"<(script|link|img|iframe)|https?:|@import|url\(", page)
    assert 'name="viewport"' in page


def test_every_figure_comes_from_the_files(page: str) -> None:
    for words in (
        "-12.3%",
        "1.5",
        "the same loop without the op",
        "moi bench engines",
        "abc123abc123-dirty",
        "CPU test",
    ):
        assert words in page, words
    assert "NVIDIA driver 570.1" in page
    assert "-3.66%" in page  # the paper's own
    assert "onnxruntime: unavailable: not here &lt;b&gt; (1 case)" in page
    assert "100.0%" in page


def test_the_paper_is_quoted_right() -> None:
    assert round(100 * PAPER_CHANGE, 2) == -3.66


def test_memory_is_computed_from_the_documented_layout() -> None:
    table = memory_table()
    assert table.rows[0] == ["QwQ-32B, 90 x 32768", "28.1 GiB", "320 MiB", "188 B", "16.5 KiB"]


def test_plots_are_valid_drawings() -> None:
    for figure in (
        svg.lines({"a & b": [(1, 10.0), (8, 20.0)], "c": [(1, 0.5)]}, "rows <B>", "µs"),
        svg.lines({"a": [(1, -3.0), (8, 40.0)], "b": [(8, 0.0)]}, "rows", "added µs", signed=True),
        svg.lines({"flat": [(1, 0.0), (8, 0.0)]}, "rows", "added µs", signed=True),
        svg.intervals([("one", 1.0, 0.5, 2.0)], "%", ("paper", -3.66)),
        svg.intervals([("flat", 0.0, 0.0, 0.0)], "%", None),
    ):
        root = ET.fromstring(figure)
        assert root.tag == "figure"
        assert "nan" not in figure
        assert root.find("svg") is not None


def test_added_time_below_zero_is_drawn_below_the_line_at_zero() -> None:
    figure = ET.fromstring(svg.lines({"a": [(1, -3.0), (8, 40.0)]}, "rows", "µs", signed=True))
    (zero,) = (float(line.get("y1", "")) for line in figure.iter("line") if line.get("class") == "zero")
    below, above = (float(dot.get("cy", "")) for dot in figure.iter("circle"))
    assert above < zero < below
    assert zero - above == pytest.approx(40 / 3 * (below - zero), rel=0.05)
    labels = [text.text for text in figure.iter("text")]
    assert labels == ["1", "8", "-20", "0", "20", "40", "rows"]


def test_markdown_tables_are_replaced_between_their_markers(files: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "R.md"
    target.write_text(
        "a\n<!-- moi report: engines -->\nold\n<!-- moi report: end -->\nb\n<!-- moi report: memory -->\n"
        "<!-- moi report: end -->\n"
    )
    argv = ["report", *map(str, files), "--markdown", str(target)]
    assert main(argv) == 0
    once = target.read_text()
    assert "old" not in once
    assert "| embedded B=2 context=6 | torch | 100.0 | 87.7 | -12.3%" in once
    assert main(argv) == 0
    assert target.read_text() == once


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing", "has no or unclosed markers"),
        ("<!-- moi report: op -->\n<!-- moi report: memory -->\n<!-- moi report: end -->\n", "unclosed markers"),
        ("<!-- moi report: speed -->\n<!-- moi report: end -->\n", "asks for 'speed'; allowed: op, engines"),
    ],
)
def test_bad_markers_are_refused(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    target = tmp_path / "R.md"
    target.write_text(text)
    assert main(["report", *map(str, files), "--markdown", str(target)]) == 2
    assert words in capsys.readouterr().err
    assert target.read_text() == text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("r.json", '[{"schema": 1, ', "is not valid JSON, it may be cut short"),
        ("r.json", '{"schema": 1}', "is no list of rows"),
        ("r.json", '[{"schema": 2, "kind": "op"}]', "row 0 has schema=2; this version reads 1"),
        ("r.json", '[{"schema": 1, "kind": "gpu"}]', "row 0 has kind='gpu'; allowed: op, engine, serve"),
        ("r.jsonl", '{"kind": "moi-eval", "schema": 9}\n', "has schema=9; this version reads 1"),
        ("r.jsonl", '{"kind": "moi-ev', "has no header line"),
    ],
)
def test_files_that_are_no_results_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    assert main(["report", str(tmp_path / name), "--out", str(tmp_path / "o.html")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "o.html").exists()


def test_missing_files_and_nothing_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "nowhere.json", "--out", str(tmp_path / "o.html")]) == 2
    assert "No such file or directory: 'nowhere.json'" in capsys.readouterr().err
    assert main(["report", "nowhere.json"]) == 2
    assert "nothing to write; give --out FILE.html" in capsys.readouterr().err


def test_an_unfinished_evaluation_says_how_far_it_is(files: list[Path], tmp_path: Path) -> None:
    evaluation = next(path for path in files if path.suffix == ".jsonl")
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join(evaluation.read_bytes().splitlines(keepends=True)[:-1]))
    assert main(["report", str(cut), "--out", str(tmp_path / "o.html")]) == 0
    assert "3 of 4 done" in (tmp_path / "o.html").read_text()
