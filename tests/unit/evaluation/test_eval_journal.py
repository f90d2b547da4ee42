"""The results file: whole, cut short, spoilt, of other settings, of another version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moi_eval.journal import SCHEMA, Journal, Key, load
from moi_eval.summary import summarise

SETTINGS: dict[str, Any] = {
    "task": {"name": "t", "n": 2},
    "model": {"name": "m"},
    "engine": "torch",
    "arms": [{"label": "a", "plain": "a"}],
    "samples": 3,
    "seed": 0,
    "max_new_tokens": 9,
}
ENVIRONMENT = {"device": "d", "command": "c", "versions": {}}
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
    journal = Journal.open(file, SETTINGS, ENVIRONMENT)
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
        journal = Journal.open(path, SETTINGS, ENVIRONMENT)
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
        Journal.open(path, {**SETTINGS, "seed": 1}, ENVIRONMENT)
    with pytest.raises(ValueError, match=r"arms=\[a\], now it is \[a; b\]"):
        Journal.open(path, {**SETTINGS, "arms": [*SETTINGS["arms"], {"label": "b", "plain": "a"}]}, ENVIRONMENT)
    with pytest.raises(ValueError, match=r"was started with seed=0, now it is \[\[\]; 1\]"):
        Journal.open(path, {**SETTINGS, "seed": [[], 1]}, ENVIRONMENT)
    assert path.read_bytes() == before


def test_two_processes_cannot_write_one_file(path: Path) -> None:
    journal = Journal.open(path, SETTINGS, ENVIRONMENT)
    with pytest.raises(OSError, match="is being written by another process"):
        Journal.open(path, SETTINGS, ENVIRONMENT)
    journal.close()


def test_what_is_no_results_file_is_never_cut(path: Path) -> None:
    for content in (b"my notes", b'{"kind"', b'{"kind":"mine"', b"\x08\0\0\0\0\0\0\0{}", b"a\nb"):
        path.write_bytes(content)
        if not b'{"kind":"moi-eval",'.startswith(content):
            with pytest.raises(ValueError, match=r"is not a results file of moi eval|is not valid JSON"):
                Journal.open(path, SETTINGS, ENVIRONMENT)
            assert path.read_bytes() == content


def test_lines_end_at_newlines_alone(path: Path) -> None:
    journal = Journal.open(path, SETTINGS, ENVIRONMENT)
    text = "a\rb\x0bc\x0cd\x1ce\x85f\u2028g"
    journal.append(Key("a", "\u2028", 0), {**SAMPLE, "text": text})
    journal.close()
    assert load(path).samples[Key("a", "\u2028", 0)]["text"] == text
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(load(path).samples) == 4


def test_a_header_alone_pins_no_settings(path: Path) -> None:
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n")
    journal = Journal.open(path, {**SETTINGS, "seed": 1}, ENVIRONMENT)
    journal.append(Key("a", "x", 0), SAMPLE)
    journal.close()
    header = load(path).header
    assert header is not None
    assert header["settings"]["seed"] == 1


def test_a_run_without_samples_leaves_no_file(tmp_path: Path) -> None:
    Journal.open(tmp_path / "r.jsonl", SETTINGS, ENVIRONMENT).close()
    assert not (tmp_path / "r.jsonl").exists()


def test_a_file_without_samples_is_not_taken_from_whoever_writes_it(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "r.jsonl", SETTINGS, ENVIRONMENT)
    with pytest.raises(OSError, match="is being written by another process"):
        Journal.open(tmp_path / "r.jsonl", SETTINGS, ENVIRONMENT)
    journal.append(Key("a", "x", 0), SAMPLE)
    journal.close()
    assert len(load(tmp_path / "r.jsonl").samples) == 1


def test_infinite_settings_are_written_as_json_and_found_again(tmp_path: Path) -> None:
    settings = {**SETTINGS, "arms": [{"label": "a", "plain": "a", "beta": float("inf")}]}
    for _ in range(2):
        journal = Journal.open(tmp_path / "r.jsonl", settings, ENVIRONMENT)
        if not journal.samples:
            journal.append(Key("a", "x", 0), SAMPLE)
        journal.close()
    assert b"Infinity" not in (tmp_path / "r.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arm": "\ud835"}, r"arm='\\ud835'; allowed: 'a'"),
        ({"sample": 3}, "sample=3; allowed: 0 to 2"),
        ({"tokens": 10}, "tokens=10; allowed: 1 to 9"),
        ({"item": "z"}, "item='z', problem 3 of 2"),
        ({"entropy": 1e308}, r"entropy=1e\+308: Input should be less than or equal to"),
    ],
)
def test_a_sample_that_the_settings_do_not_have_is_named(path: Path, change: dict[str, Any], words: str) -> None:
    header, *lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(header + b"".join(lines) + lines[0].replace(b'"x"', b'"y"'))
    assert len(load(path).samples) == 4
    bad = json.dumps({**json.loads(lines[1]), **change}).encode() + b"\n"
    path.write_bytes(header + lines[0] + lines[0].replace(b'"x"', b'"y"') + bad)
    with pytest.raises(ValueError, match=rf"results.jsonl line 4 has {words}"):
        load(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arm": "b"}, "arm='b'; allowed: 'a'"),
        ({"sample": 3}, "sample=3; allowed: 0 to 2"),
        ({"tokens": 10}, "tokens=10; allowed: 1 to 9"),
        ({"finish": None}, "finish=None: Input should be a valid string"),
        ({"entropy": 1.01}, "entropy=1.01: Input should be less than or equal to"),
        ({"entropy": float("nan")}, "entropy=nan: Input should be a finite number"),
        ({"mine": 1}, "mine=1: Extra inputs are not permitted"),
        ({"item": "z"}, "item='z', problem 3 of 2"),
    ],
)
@pytest.mark.parametrize("started", [True, False])
def test_what_could_not_be_read_back_is_not_written(
    tmp_path: Path, change: dict[str, Any], words: str, started: bool
) -> None:
    if "item" in change and not started:
        return  # the first problem is any
    file = tmp_path / "r.jsonl"
    journal = Journal.open(file, SETTINGS, ENVIRONMENT)
    for item in "xy" if started else "":
        journal.append(Key("a", item, 0), SAMPLE)
    before, record = file.read_bytes(), {**SAMPLE, **change}
    key = Key(record.pop("arm", "a"), record.pop("item", "x"), record.pop("sample", 1))
    with pytest.raises(ValueError, match=rf"arm '{key.arm}', problem '{key.item}', sample {key.sample} has {words}"):
        journal.append(key, record)
    assert file.read_bytes() == before
    for item in "xy":
        journal.append(Key("a", item, 1), {**SAMPLE, "text": "half a character: \ud835"})
    with pytest.raises(ValueError, match=r"arm 'a', problem 'y', sample 1 is in .*r\.jsonl already"):
        journal.append(Key("a", "y", 1), SAMPLE)
    journal.close()
    assert len(load(file).samples) == (4 if started else 2)


def test_a_problem_that_the_task_does_not_have_is_named_when_a_run_goes_on(path: Path) -> None:
    Journal.open(path, SETTINGS, ENVIRONMENT, ["x", "y"]).close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"line 2 has item='x', which is none of the problems"):
        Journal.open(path, SETTINGS, ENVIRONMENT, ["y", "z"])
    with pytest.raises(ValueError, match="was started with seed=0, now it is 1"):  # of other settings, other problems
        Journal.open(path, {**SETTINGS, "seed": 1}, ENVIRONMENT, ["y", "z"])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda header: header["settings"].pop("samples"), "line 1, settings, lacks 'samples'"),
        (lambda header: header["settings"].update(samples=True), "line 1, settings, has samples=True: Input should be"),
        (lambda header: header["settings"]["task"].update(n=0), r"has task.n=0: Input should be greater than"),
        (lambda header: header["settings"].update(arms=[]), r"has arms=\[\]: List should have at least 1 item"),
        (lambda header: header["settings"]["arms"].append(header["settings"]["arms"][0]), "every label must stand"),
        (lambda header: header["settings"]["arms"].append([]), r"has arms.1=\[\]: Input should be"),
        (lambda header: header["environment"].pop("device"), "line 1, environment, lacks 'device'"),
    ],
)
def test_a_damaged_header_is_refused_as_a_whole(path: Path, change: Callable[[Any], Any], words: str) -> None:
    header, *lines = path.read_text().splitlines(keepends=True)
    damaged = json.loads(header)
    change(damaged)
    path.write_text(json.dumps(damaged) + "\n" + "".join(lines))
    with pytest.raises(ValueError, match=words):
        load(path)


_SAMPLES = st.fixed_dictionaries(
    {
        "arm": st.sampled_from(["a", "b", "c", "\ud835"]),
        "item": st.sampled_from(["x", "y", "z"]),
        "sample": st.integers(0, 2),
        "tokens": st.sampled_from([1, 9, 10, 10**400]),
        "entropy": st.sampled_from([0.0, 1.0, 1e308]),
        "solved": st.sampled_from([True, False, None]),
    }
)


@hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])  # the machine may be busy
@given(st.lists(_SAMPLES, max_size=14))
def test_whatever_is_loaded_can_be_counted(tmp_path_factory: pytest.TempPathFactory, samples: list[Any]) -> None:
    file = tmp_path_factory.mktemp("drawn") / "r.jsonl"
    arms = [{"label": label, "plain": "a"} for label in "ab"]
    settings = {**SETTINGS, "arms": arms, "samples": 2}
    header = {"kind": "moi-eval", "schema": SCHEMA, "settings": settings, "environment": ENVIRONMENT}
    lines = [header, *({**SAMPLE, **sample} for sample in samples)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused, counted = None, list[int]()
    try:
        counted = [row["done"] for row in summarise(settings, load(file).samples)]
    except ValueError as error:
        refused = str(error)
    if refused is None:
        assert counted == [sum(sample["arm"] == label for sample in samples) for label in "ab"]
    else:
        assert f"{file} line " in refused


def test_complete_arms_of_a_loaded_file_are_compared(tmp_path: Path) -> None:
    """The property above reaches no complete file by chance."""
    settings = {**SETTINGS, "arms": [{"label": "a", "plain": "a"}, {"label": "b", "plain": "a"}], "samples": 1}
    journal = Journal.open(tmp_path / "r.jsonl", settings, ENVIRONMENT, ["x", "y"])
    for arm, item in ("ax", "ay", "by", "bx"):
        journal.append(Key(arm, item, 0), {**SAMPLE, "solved": arm == "b"})
    journal.close()
    (_, mixed) = summarise(settings, load(tmp_path / "r.jsonl").samples)
    assert (mixed["paired"]["won"], mixed["paired"]["difference"]) == (2, 1.0)
