"""The results file: whole, cut short, spoilt, of other settings, of another version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moi_bench.eval.journal import SCHEMA, Journal, Key, load

SETTINGS = {"task": {"name": "t", "n": 2}, "arms": [{"label": "a"}], "seed": 0}
SAMPLE = {
    "solved": True,
    "outcome": "solved",
    "tokens": 3,
    "finish": "eos",
    "entropy": 0.1,
    "intervention": 0.0,
    "text": "§ 1",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "deep" / "results.jsonl"
    journal = Journal.open(file, SETTINGS, {})
    for sample in range(3):
        journal.append(Key("a", "x", sample), SAMPLE)
    journal.close()
    return file


def test_what_is_written_is_read_back(path: Path) -> None:
    contents = load(path)
    assert contents.header is not None
    assert contents.header["settings"] == SETTINGS
    assert list(contents.samples) == [Key("a", "x", sample) for sample in range(3)]
    assert contents.samples[Key("a", "x", 1)]["text"] == "§ 1"
    assert not contents.torn


def test_a_file_cut_at_any_byte_is_resumed_without_loss_or_repetition(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    for cut in [*range(0, len(whole), 7), *ends, *(end - 1 for end in ends)]:
        path.write_bytes(whole[:cut])
        journal = Journal.open(path, SETTINGS, {})
        assert len(journal.samples) == max(0, sum(end <= cut for end in ends) - 1)
        for sample in range(len(journal.samples), 3):
            journal.append(Key("a", "x", sample), SAMPLE)
        journal.close()
        assert path.read_bytes() == whole, f"cut at {cut}"
        assert ("cut short" in capsys.readouterr().err) == (cut not in (0, *ends))


def test_a_spoilt_line_in_the_middle_is_an_error(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1], lines[2][:40] + b"\n", lines[3]]))
    with pytest.raises(ValueError, match=r"results.jsonl line 3 is not valid JSON"):
        load(path)
    path.write_bytes(b"".join([lines[0], b"\xff\xfe\n"]))
    with pytest.raises(ValueError, match=r"line 2 is not valid JSON"):
        load(path)
    path.write_bytes(b"".join([lines[0], lines[1], lines[1]]))
    with pytest.raises(ValueError, match=r"line 3 repeats 'a', problem 'x', sample 0"):
        load(path)
    path.write_bytes(b"".join([lines[0], b'{"arm": "a"}\n']))
    with pytest.raises(ValueError, match=r"line 2 is no sample: it must hold arm, entropy"):
        load(path)


def test_another_schema_or_kind_is_refused(path: Path) -> None:
    header = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps({**header, "schema": SCHEMA + 1}) + "\n")
    with pytest.raises(ValueError, match=rf"has schema={SCHEMA + 1}; this version reads {SCHEMA}"):
        load(path)
    path.write_text('{"arm": 1}\n')
    with pytest.raises(ValueError, match=r"is not a results file of moi eval: its first line has kind=None"):
        load(path)


def test_other_settings_are_refused_by_name(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"was started with seed=0, now it is 1; give the same settings to go on"):
        Journal.open(path, {**SETTINGS, "seed": 1}, {})
    with pytest.raises(ValueError, match=r"arms=\[a\], now it is \[a; b\]"):
        Journal.open(path, {**SETTINGS, "arms": [{"label": "a"}, {"label": "b"}]}, {})
    assert path.read_bytes() == before


def test_two_processes_cannot_write_one_file(path: Path) -> None:
    journal = Journal.open(path, SETTINGS, {})
    with pytest.raises(OSError, match="is being written by another process"):
        Journal.open(path, SETTINGS, {})
    journal.close()


def test_what_is_no_results_file_is_never_cut(path: Path) -> None:
    for content in (b"my notes", b'{"kind"', b'{"kind":"mine"', b"\x08\0\0\0\0\0\0\0{}", b"a\nb"):
        path.write_bytes(content)
        if not b'{"kind":"moi-eval",'.startswith(content):
            with pytest.raises(ValueError, match=r"is not a results file of moi eval|is not valid JSON"):
                Journal.open(path, SETTINGS, {})
            assert path.read_bytes() == content


def test_lines_end_at_newlines_alone(path: Path) -> None:
    journal = Journal.open(path, SETTINGS, {})
    text = "a\rb\x0bc\x0cd\x1ce\x85f\u2028g"
    journal.append(Key("a", "\u2028", 0), {**SAMPLE, "text": text})
    journal.close()
    assert load(path).samples[Key("a", "\u2028", 0)]["text"] == text
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(load(path).samples) == 4


def test_a_header_alone_pins_no_settings(path: Path) -> None:
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n")
    journal = Journal.open(path, {**SETTINGS, "seed": 1}, {})
    journal.append(Key("a", "x", 0), SAMPLE)
    journal.close()
    header = load(path).header
    assert header is not None
    assert header["settings"]["seed"] == 1


def test_a_run_without_samples_leaves_no_file(tmp_path: Path) -> None:
    Journal.open(tmp_path / "r.jsonl", SETTINGS, {}).close()
    assert not (tmp_path / "r.jsonl").exists()


def test_a_file_without_samples_is_not_taken_from_whoever_writes_it(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "r.jsonl", SETTINGS, {})
    with pytest.raises(OSError, match="is being written by another process"):
        Journal.open(tmp_path / "r.jsonl", SETTINGS, {})
    journal.append(Key("a", "x", 0), SAMPLE)
    journal.close()
    assert len(load(tmp_path / "r.jsonl").samples) == 1


def test_infinite_settings_are_written_as_json_and_found_again(tmp_path: Path) -> None:
    settings = {**SETTINGS, "arms": [{"label": "a beta=inf", "beta": float("inf")}]}
    for _ in range(2):
        journal = Journal.open(tmp_path / "r.jsonl", settings, {})
        if not journal.samples:
            journal.append(Key("a", "x", 0), SAMPLE)
        journal.close()
    assert b"Infinity" not in (tmp_path / "r.jsonl").read_bytes()
