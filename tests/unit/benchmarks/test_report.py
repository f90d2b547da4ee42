"""`moi report`: figures on the page are those of the files; what cannot be read is refused by name."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from moi_bench.report import figures, tables
from moi_bench.report.markdown import markdown
from moi_bench.report.page import page as report_page
from moi_bench.report.results import Evaluation, read
from moi_bench.report.summary_table import summary_table
from moi_bench.report.tables import PAPER_CHANGE, gym_table, memory_table

VOID = {"meta", "br", "link", "img", "input"}


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
    names = re.findall(r' id="([^"]*)"', page)
    assert len(set(names)) == len(names)


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
    assert "measured: sglang, made up C=8 N=16, 50% MoI requests" in page


def test_rows_of_sglang_and_of_vllm_have_sections_of_their_own(page: str) -> None:
    found = {part.split("</h2>")[0]: re.sub(r"<[^>]*>", " ", part) for part in page.split("<h2>")[1:]}
    sglang, vllm = (found[f"{host} without and with the plugin"].split() for host in ("SGLang", "vLLM"))
    assert ("1000.0" in sglang, "2000.0" in sglang, "1000.0" in vllm, vllm.count("2000.0")) == (True, False, False, 2)
    assert "made up, plugin on, all plain 8 2000.0 1990.0" in " ".join(vllm)
    assert "With it, every request is mixed, unless the row says that all are plain." in " ".join(vllm)
    assert "With it, every request is mixed. " in " ".join(sglang)
    hosts = [found[f"{host}: the plugin&#39;s host time per decode step"] for host in ("SGLang", "vLLM")]
    assert ["sample of it, B=8" in host for host in hosts] == [False, True]
    assert ["sample, B=8" in host for host in hosts] == [True, False]


def test_the_paper_is_quoted_right() -> None:
    assert round(100 * PAPER_CHANGE, 2) == -3.66


def test_memory_is_computed_from_the_documented_layout() -> None:
    table = memory_table()
    assert table.rows[0] == ["QwQ-32B, 90 x 32768", "28.1 GiB", "320 MiB", "216 B", "19.0 KiB"]


def test_figures_are_valid_drawings_with_axes_and_units() -> None:
    for figure in (
        figures.lines({"a & b": [(1, 10.0), (8, 20.0)], "c": [(1, 0.5)]}, "rows <B>", "unit", "title"),
        figures.lines({"a": [(1, -3.0), (8, 40.0)], "b": [(8, 0.0)]}, "rows <B>", "unit", "title", signed=True),
        figures.lines({"flat": [(1, 0.0), (8, 0.0)]}, "rows <B>", "unit", "title", signed=True),
        figures.lines({"tiny": [(1, 1e-320), (8, 1e18)]}, "rows <B>", "unit", "title"),
        figures.intervals([("one", 1.0, 0.5, 2.0)], "rows <B>", "title", ("unit", -3.66)),
        figures.intervals([("unit $\\frac", 0.0, 0.0, 0.0), ("🎲 \ud835 \x00", 1.0, 1.0, 1.0)], "rows <B>", "title"),
        figures.intervals([("unit " + "x" * 5000, 1e18, -1e18, 1e18)], "rows <B>", "title"),
    ):
        root = ET.fromstring(figure)
        words = [text for text in root.itertext() if text.strip()]
        assert root.tag == "figure"
        assert root.find("svg") is not None
        assert "nan" not in figure
        assert "rows <B>" in words
        assert any("unit" in word for word in words)
        assert words[0] == "title"
        names = re.findall(r' id="([^"]*)"', figure)
        assert len(set(names)) == len(names)
        assert set(re.findall(r'href="#([^"]*)"', figure)) <= set(names)


def test_added_time_below_zero_is_drawn_below_the_line_at_zero() -> None:
    figure = ET.fromstring(figures.lines({"a": [(1, -3.0), (8, 40.0)]}, "rows", "µs", "title", signed=True))
    paths = [[float(x) for x in re.findall(r"-?[\d.]+", path.get("d", ""))] for path in figure.iter("path")]
    labels = {text.text: float(text.get("y", "nan")) for text in figure.iter("text")}
    (line,) = (path for path in paths if len(path) == 4 and path[0] != path[2] and path[1] != path[3])
    below, above = line[1], line[3]
    unit = (labels["0"] - labels["20"]) / 20
    assert unit > 0
    assert below - above == pytest.approx(43 * unit)
    levels = [path[1] for path in paths if len(path) == 4 and path[1] == path[3]]
    assert any(level == pytest.approx(below - 3 * unit) for level in levels)
    assert list(labels)[:2] == ["1", "8"]


def test_the_page_opens_with_costs_and_gains_and_ends_with_machines(page: str) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles[0] == "What MoI costs and gains"
    assert titles[-1] == "Machines, versions, commands to repeat"
    opening = page.split("<h2>")[1]
    assert opening.count("<svg") == 2
    for words in ("torch, embedded: -12.3 [-20.0, -5.0]", "sglang server, made up, 50% MoI", "change of tokens/s, %"):
        assert words in opening, words
    assert "countdown, made up, moi beta=1 T=1 top-p=1:" in opening
    assert ">50.0 [-48.0, 100.0]<" in opening


def test_markdown_tables_are_replaced_between_their_markers(files: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "R.md"
    target.write_text(
        "a `<!-- moi report: NAME -->`\n<!-- moi report: engines -->\nold\n<!-- moi report: end -->\nb\n"
        "<!-- moi report: memory -->\n<!-- moi report: end -->\n"
    )
    argv = ["report", *map(str, files), "--markdown", str(target)]
    assert main(argv) == 0
    once = target.read_text()
    assert "old" not in once
    assert "| embedded B=2 context=6 | torch | 100.0 | 87.7 | -12.3%" in once
    assert main(argv) == 0
    assert target.read_text() == once


def test_sglang_without_and_with_the_plugin(files: list[Path], page: str, tmp_path: Path) -> None:
    target = tmp_path / "R.md"
    marks = "".join(f"<!-- moi report: {name} -->\n<!-- moi report: end -->\n" for name in ("sglang", "host"))
    target.write_text(marks)
    assert main(["report", *map(str, files), "--markdown", str(target)]) == 0
    text = target.read_text()
    assert "| made up | 8 | 1000.0 | 900.0 | 0.900 | 0.880 to 0.930 | 0.97 | 889 |" in text
    assert "| sample, B=8 | 77.7 | 70.0 to 80.0 |  |\n| total, B=8 | 123.4 |  | 150 |" in text
    for words in ("<td>889</td>", "<td>123.4</td>", "<br>others ran too<pre>"):
        assert words in page, words


def test_the_summary_has_an_engine_a_line_at_one_batch_size() -> None:
    rows = []
    for model, batch, context, median in (("a", 8, 16, 0.9), ("a", 8, 448, 0.5), ("a", 1, 4, 0.4), ("b", 8, 16, 1.1)):
        case = {"model": model, "batch": batch, "context": context}
        ratio = {"median": median, "p10": median - 0.1, "p90": median + 0.1}
        rows.append({"engine": "torch", "device": "CPU", "status": "ok", "case": case, "ratio": ratio})
    rows += [{**rows[3], "engine": "sglang"}, {**rows[0], "engine": "onnxruntime", "status": "failed"}]
    table = summary_table(rows)
    assert table.head == ["MoI against plain, tokens/s, B=8", "a", "b"]
    assert table.rows == [
        ["torch, CPU", "-10.0 % (-20.0 to +0.0)", "+10.0 % (+0.0 to +20.0)"],
        ["sglang, CPU", "", "+10.0 % (+0.0 to +20.0)"],
    ]


def test_tasks_of_reasoning_gym_stand_side_by_side() -> None:
    def evaluation(task: str, dtype: str, **differences: float) -> Evaluation:
        settings = {"task": {"name": task, "variant": task[3:], "n": 9}, "dtype": dtype, "samples": 1}
        arms: list[dict[str, Any]] = [{"label": "token", "share": 0.5, "paired": None}]
        for label, found in differences.items():
            paired = {"difference": found, "low": found - 0.1, "high": found + 0.1}
            arms.append({"label": label, "share": 0.5 + found, "paired": paired})
        return Evaluation(settings, {}, arms)

    sums, words = evaluation("rg:sums", "float32", moi=0.01, soft=-0.2), evaluation("rg:words", "bfloat16", moi=-0.03)
    table = gym_table([evaluation("countdown", "float32", moi=0.5), sums, words])
    assert table.head == ["", "sums, 9, float32", "words, 9, bfloat16"]
    assert table.rows == [
        ["plain decoding solves", "50.0%", "50.0%"],
        ["moi", "+1.0 [-9.0, +11.0]", "-3.0 [-13.0, +7.0]"],
        ["soft", "-20.0 [-30.0, -10.0]", ""],
    ]


def test_real_models_come_first_and_stand_beside_generate(files: list[Path], tmp_path: Path) -> None:
    """Rows without a yardstick (SGLang's, and all from before there was one) leave its cells empty."""
    rows = json.loads(files[1].read_text())
    real = {**rows[0]["case"], "name": "pretrained B=8", "model": "pretrained", "real": True, "batch": 8}
    ratio = {"median": 1.25, "p10": 1.2, "p90": 1.3, "turns": 20}
    yardstick = {"transformers": {"tokens_per_s": {"median": 80.0, "p10": 79.0, "p90": 81.0}}}
    yardstick["ratio_to_transformers"] = {"plain": ratio, "moi": {**ratio, "median": 1.1}}
    last = [{**rows[0], "case": real, **yardstick}, {**rows[2], "case": real}]
    path = tmp_path / "with_real.json"
    path.write_text(json.dumps([*rows, *last]))
    results = read([path])
    assert [row["case"]["name"] for row in results.engine[:2]] == ["pretrained B=8"] * 2
    table = tables.real_table(results.engine)
    shared = ["100.0", "87.7", "-12.3%", "-20.0% to -5.0%"]
    assert table.rows[0] == ["pretrained B=8", "torch", "80.0", *shared, "1.25", "1.10"]
    assert table.rows[1] == ["pretrained B=8", "sglang", "", *shared, "", ""]
    assert len(table.rows) == 2
    engines = [(row[0], row[-1]) for row in tables.engine_table(results.engine).rows]
    assert engines[:3] == [("pretrained B=8", "1.10"), ("pretrained B=8", ""), (rows[0]["case"]["name"], "")]
    assert summary_table(results.engine).head[1] == "pretrained"
    assert "pretrained B=8" in report_page(results)
    del last[0]["ratio_to_transformers"]["moi"]["p10"]
    path.write_text(json.dumps(last))
    with pytest.raises(ValueError, match=r"lacks 'ratio_to_transformers\.moi\.p10'"):
        read([path])


def test_what_is_not_measured_says_how_to(files: list[Path]) -> None:
    blocks = markdown(read([next(path for path in files if path.stem == "op")]))
    assert blocks["serve"] == "Not measured yet; the command: `moi bench serve --out serve.json`."
    assert {name for name, text in blocks.items() if "Not measured" not in text} == {"op", "overhead", "memory"}
