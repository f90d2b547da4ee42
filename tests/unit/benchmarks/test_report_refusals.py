"""What `moi report` cannot read, or only in part: refused by name, or said."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing", "has no or unclosed markers"),
        ("<!-- moi report: op -->\n<!-- moi report: memory -->\n<!-- moi report: end -->\n", "unclosed markers"),
        (
            "<!-- moi report: speed -->\n<!-- moi report: end -->\n",
            "asks for 'speed'; allowed: real, summary, op, engines",
        ),
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
        ("r.json", '[{"schema": 1, "what": "x"}]', "row 0 has what='x'; allowed: decode throughput, host time per"),
        ("r.json", '[{"schema": 1, "what": {"a": []}}]', "row 0 has what={'a': []}; allowed: decode throughput"),
        ("r.json", '[{"schema": 1, "seconds": 1}]', "row 0 has no kind; allowed: op, engine, serve"),
        ("r.json", "[]", "holds no rows"),
        ("r.json", "", "is not valid JSON, it may be cut short"),
        ("r.json", '[{"schema": 1, "kind": "op"}]', "row 0 lacks 'device'"),
        ("r.jsonl", '{"kind": "moi-eval", "schema": 1}\n', "has settings=None in its first line; it must be an object"),
        (
            "r.jsonl",
            '{"kind": "moi-eval", "schema": 1, "settings": {}, "environment": {}}\n',
            "line 1, settings, lacks 'task'",
        ),
        ("r.jsonl", '{"kind": "moi-eval", "schema": 9}\n', "has schema=9; this version reads 1"),
        ("r.jsonl", '{"kind":"moi-ev', "has no header line"),
        ("r.jsonl", "notes", "is not a results file of moi eval: it does not begin with a header line"),
    ],
)
def test_files_that_are_no_results_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    assert main(["report", str(tmp_path / name), "--out", str(tmp_path / "o.html")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "o.html").exists()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("op", lambda row: row.pop("case"), "row 0 lacks 'case'"),
        ("op", lambda row: row.update(median_us=None), "row 0 has median_us=None: Input should be a valid number"),
        ("op", lambda row: row.update(median_us=0), "row 0 has median_us=0: Input should be greater than 0"),
        (
            "op",
            lambda row: row.update(median_us=1e300),
            "row 0 has median_us=1e+300: Input should be less than or equal",
        ),
        ("engines", lambda row: row.pop("ratio"), "row 0 lacks 'ratio'"),
        ("engines", lambda row: row.update(moi=3), "row 0 has moi=3: Input should be"),
        ("engines", lambda row: row.update(status="failed"), "row 0 has reason=None: Input should be a valid string"),
        ("serve", lambda row: row["case"].pop("share"), "row 0 lacks 'case.share'"),
        ("sglang", lambda row: row.update(added_us="1"), "row 0 has added_us='1': Input should be a valid number"),
        ("vllm", lambda row: row.update(what="x"), "row 0 has what='x'; allowed: decode throughput, host time per"),
        ("vllm", lambda row: row.pop("piece"), "row 0 lacks 'piece'"),
        ("sglang", lambda row: row["tokens_per_second"].pop("moi"), "row 0 lacks 'tokens_per_second.moi'"),
        ("sglang", lambda row: row.update(versions=[]), "row 0 has versions=[]: Input should be a valid dictionary"),
    ],
)
def test_rows_with_a_field_missing_or_of_another_type_are_named(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, change: Any, words: str
) -> None:
    rows = json.loads(next(path for path in files if path.stem == name).read_text())
    change(rows[0])
    (tmp_path / "r.json").write_text(json.dumps(rows))
    assert main(["report", str(tmp_path / "r.json"), "--out", str(tmp_path / "o.html")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_an_evaluation_whose_settings_do_not_fit_its_samples_is_refused(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = next(path for path in files if path.suffix == ".jsonl").read_text()
    (tmp_path / "r.jsonl").write_text(text.replace('"arm":"moi beta=1 T=1 top-p=1"', '"arm":"x"', 1))
    assert main(["report", str(tmp_path / "r.jsonl"), "--out", str(tmp_path / "o.html")]) == 2
    assert "line 6 has arm='x'; allowed: 'token T=1 top-p=1', 'moi beta=1 T=1 top-p=1'" in capsys.readouterr().err


def test_a_last_line_that_was_cut_short_is_left_out_and_said(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = next(path for path in files if path.suffix == ".jsonl").read_bytes()
    (tmp_path / "r.jsonl").write_bytes(data[:-9])
    assert main(["report", str(tmp_path / "r.jsonl"), "--out", str(tmp_path / "o.html")]) == 0
    assert "the last line was cut short and is left out" in capsys.readouterr().err
    assert "3 of 4 done" in (tmp_path / "o.html").read_text()


def test_a_compressed_evaluation_is_read_and_one_that_is_not_whole_refused(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = next(path for path in files if path.suffix == ".jsonl")
    packed = gzip.compress(plain.read_bytes())
    (tmp_path / "r.jsonl.gz").write_bytes(packed)
    for name, file in (("plain", plain), ("packed", tmp_path / "r.jsonl.gz")):
        assert main(["report", str(file), "--out", str(tmp_path / f"{name}.html")]) == 0
    tables = [re.findall(r"<table.*?</table>", (tmp_path / f"{n}.html").read_text(), re.S) for n in ("plain", "packed")]
    assert tables[0] == tables[1] != []
    for raw in (packed[:-9], plain.read_bytes(), b"", packed[:20] + b"x" + packed[21:]):
        (tmp_path / "r.jsonl.gz").write_bytes(raw)
        assert main(["report", str(tmp_path / "r.jsonl.gz"), "--out", str(tmp_path / "o.html")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "r.jsonl.gz").write_bytes(packed)
    assert main(["eval", "countdown", "--n", "2", "--out", str(tmp_path / "r.jsonl.gz")]) == 2
    assert "is compressed; unpack it with gunzip" in capsys.readouterr().err
    assert (tmp_path / "r.jsonl.gz").read_bytes() == packed


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
