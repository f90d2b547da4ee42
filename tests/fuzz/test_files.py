"""Files as users' disks hold them, whole, cut short, or with bytes and values that nobody expects.

Problems, prompts, results, model folders and exports are read, or refused in one line, and stay as they are.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from moi_engines import embedded_model

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, -(10**400), float("nan"), float("inf"), "", " ", "x", "204", "\\boxed{7}"),
    *("\u2028", "\x85", "\x00", "\ud835", "\ufeff", "🎲", "x" * 5000, [], {}, [[]], ["a", 1], {"a": {"b": None}}),
)
BYTES = (b"\x00", b"\xff", b"\r", b"\n", b"\x0b", b"\x85", b'"', b"{", b"}", b"\\", b"\\ud800", b"NaN", b"[" * 3000)

GENERATE = ["generate", "--engine", "onnxruntime", "--prompt", "2 3 4 > 24 :", "--max-new-tokens", "1", "--model"]
RESULTS = [
    path
    for path in sorted((Path(__file__).parents[2] / "benchmarks" / "results").rglob("*.json*"))
    if path.suffix != ".gz"
]
PROBLEMS: dict[str, list[dict[str, Any]]] = {
    "aime": [{"id": 1, "problem": "1 + 1?", "answer": "2"}, {"id": None, "question": "6 * 7?", "answer": 42}],
    "gpqa": [
        {"Record ID": name, "Question": f"{name}?", "Correct Answer": "1"}
        | {f"Incorrect Answer {wrong}": str(wrong) for wrong in (1, 2, 3)}
        for name in ("a", "b")
    ],
    "livecodebench": [{"question_id": str(n), "question_content": "Add.", "starter_code": ""} for n in (1, 2)],
}


@pytest.mark.parametrize("task", PROBLEMS)
def test_problems(
    task: str,
    call: Any,
    dice: random.Random,
    reached: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("moi_eval.command.load_engine", reached)
    good, file = "".join(json.dumps(record) + "\n" for record in PROBLEMS[task]).encode(), tmp_path / "p.jsonl"
    for turn in range(150):
        data = damaged_json(good, dice)
        file.write_bytes(data)
        call(["eval", task, "--data", str(file), "--out", f"{turn}.jsonl", "--max-new-tokens", "1"])
        assert file.read_bytes() == data


def test_prompts(call: Any, dice: random.Random, tmp_path: Path) -> None:
    good, file = b"2 3 4 > 24 :\n\n18 7 7 > 67 :\n", tmp_path / "prompts.txt"
    for _ in range(100):
        file.write_bytes(damaged_bytes(good, dice))
        call(["generate", "--prompts-file", str(file), "--max-new-tokens", "1", "--json"])


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_results_that_are_reported(path: Path, call: Any, dice: random.Random, tmp_path: Path) -> None:
    good, file = _written(path, _rows(path)), tmp_path / path.name
    for turn in range(40):
        file.write_bytes(damaged_json(good, dice))
        call(["report", str(file), "--out", f"{turn}.html"])


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_results_with_any_field_replaced(path: Path, call: Any, tmp_path: Path) -> None:
    rows, file = _rows(path), tmp_path / path.name
    for at, row in enumerate(rows):
        for replaced in _replaced(row):
            file.write_bytes(_written(path, [*rows[:at], replaced, *rows[at + 1 :]]))
            call(["report", str(file), "--out", "page.html"])


def test_results_that_are_resumed(
    call: Any, dice: random.Random, reached: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = ["eval", "countdown", "--n", "1", "--policy", "token", "--max-new-tokens", "2", "--out", "r.jsonl"]
    assert call(line).status == 0
    file = tmp_path / "r.jsonl"
    good = file.read_bytes()
    monkeypatch.setattr("moi_eval.command.load_engine", reached)
    for _ in range(150):
        data = damaged_json(good, dice)
        file.write_bytes(data)
        if call(line).status == 2:
            assert file.read_bytes() == data, "a refused file was changed"


def test_model_folders(call: Any, dice: random.Random, tmp_path: Path) -> None:
    for turn in range(250):
        model = _damaged_folder(embedded_model(), tmp_path / str(turn), dice)
        call(["generate", "--model", str(model), "--prompt", "2 3 4 > 24 :", "--max-new-tokens", "1"])
        shutil.rmtree(model)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    whole = tmp_path_factory.mktemp("export") / "out"
    line = ["export", "--model", str(embedded_model()), "--out", str(whole), "--max-length", "16", "--skip-check"]
    assert main(line) == 0
    return whole


def test_exported_folders(exported: Path, call: Any, dice: random.Random, tmp_path: Path) -> None:
    for turn in range(80):
        folder = _damaged_folder(exported, tmp_path / str(turn), dice)
        call([*GENERATE, str(folder)])
        call(["doctor", "--onnx", str(folder)])
        call(["compile", str(folder)])
        shutil.rmtree(folder)


def test_exports_with_any_field_of_their_description_replaced(exported: Path, call: Any, tmp_path: Path) -> None:
    folder, good = tmp_path / "copy", json.loads((exported / "moi_config.json").read_text())
    shutil.copytree(exported, folder)
    for replaced in _replaced(good, (-(10**400), 1, 7, 2**31 - 1, "x", None, {"a": 1})):
        (folder / "moi_config.json").write_text(json.dumps(replaced))
        call([*GENERATE, str(folder)])


def _rows(path: Path) -> list[dict[str, Any]]:
    """The first row of each shape in a results file: a list of rows, or lines of a journal."""
    data = path.read_bytes()
    rows = map(json.loads, data.splitlines()) if path.suffix == ".jsonl" else json.loads(data)
    first = dict[tuple[str, ...], dict[str, Any]]()
    for row in rows:
        first.setdefault((*row,), row)
    return list(first.values())


def _written(path: Path, rows: list[dict[str, Any]]) -> bytes:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    return (lines if path.suffix == ".jsonl" else json.dumps(rows)).encode()


def _replaced(
    row: dict[str, Any], values: tuple[Any, ...] = (-(10**400), "x", None, {"a": 1})
) -> Iterator[dict[str, Any]]:
    """Copies of a row, each with another value in one place, or none, however deep."""
    for key, old in row.items():
        yield {name: value for name, value in row.items() if name != key}
        for value in values:
            yield row | {key: value}
        if isinstance(old, dict):
            yield from (row | {key: inner} for inner in _replaced(old, values))


def _damaged_folder(source: Path, target: Path, dice: random.Random) -> Path:
    """A copy of a folder with one file damaged, empty, gone, or a folder itself."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    file = dice.choice(sorted(path for path in target.iterdir() if path.is_file()))
    kind = dice.random()
    if kind < 0.15:
        file.unlink()
        if kind < 0.05:
            file.mkdir()
    else:
        damage = damaged_json if file.suffix == ".json" else damaged_bytes
        file.write_bytes(damage(file.read_bytes(), dice))
    return target


def damaged_bytes(data: bytes, dice: random.Random) -> bytes:
    """`data` with one thing wrong, or as it was."""
    at = dice.randrange(len(data) + 1)
    return dice.choice(
        (
            lambda: data,
            lambda: b"",
            lambda: data[:at],
            lambda: data[at:],
            lambda: data[:at] + dice.choice(BYTES) + data[at:],
            lambda: data[:at] + dice.choice(BYTES) + data[at + 1 :],
            lambda: b"\xef\xbb\xbf" + data,
            lambda: data.decode(errors="replace").encode("utf-16"),
            lambda: data.replace(b"\n", b"\r\n"),
            lambda: data + data,
            lambda: dice.randbytes(200),
        )
    )()


def damaged_value(value: Any, dice: random.Random) -> Any:
    """`value` with one of its parts changed, gone or of another type."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice([*value])
        rest = {name: part for name, part in value.items() if name != key}
        return dice.choice(
            (
                lambda: rest,
                lambda: {**rest, str(dice.choice(VALUES[:8])): 1},
                lambda: {**value, key: _other(value[key], dice)},
            )
        )()
    if isinstance(value, list) and value and dice.random() < 0.8:
        at = dice.randrange(len(value))
        return [*value[:at], _other(value[at], dice), *value[at + 1 :]]
    return dice.choice(VALUES)


def _other(value: Any, dice: random.Random) -> Any:
    return damaged_value(value, dice) if dice.random() < 0.5 else dice.choice(VALUES)


def damaged_json(data: bytes, dice: random.Random) -> bytes:
    """A JSON document, or one a line, with one value or some bytes wrong."""
    if dice.random() < 0.3:
        return damaged_bytes(data, dice)
    lines = data.split(b"\n") if data.count(b"\n{") else [data]
    at = dice.randrange(len(lines))
    if lines[at].strip():
        lines[at] = json.dumps(damaged_value(json.loads(lines[at]), dice)).encode()
    return b"\n".join(lines)
