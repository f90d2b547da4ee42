"""`moi generate` as a user runs it."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from moi.cli import main

SHORT = ["--max-new-tokens", "8", "--seed", "3"]


@pytest.fixture(scope="module")
def model(tiny_model):
    return ["--model", str(tiny_model("qwen3"))]


def run_json(capsys, *argv):
    assert main(["generate", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_has_the_documented_keys(capsys, model):
    report = run_json(capsys, *model, *SHORT, "--prompt", "hello", "--prompt", "you")
    assert report["engine"] == "torch"
    assert report["policy"] == "moi"
    assert [set(output) for output in report["outputs"]] == [
        {"text", "token_ids", "finish_reason", "mean_entropy", "mean_intervention", "mixed_tokens"}
    ] * 2


def test_compare_puts_plain_decoding_beside_it(capsys, model):
    report = run_json(capsys, *model, *SHORT, "--prompt", "hello", "--compare", "--beta", "0.5")
    plain = run_json(capsys, *model, *SHORT, "--prompt", "hello", "--policy", "token")
    assert report["plain"] == plain["outputs"]
    assert report["plain"][0]["mixed_tokens"] == 0
    assert report["moi"]["beta"] == 0.5


def test_flags_reach_the_settings(capsys, model):
    report = run_json(
        capsys, *model, *SHORT, "--prompt", "a", "--preset", "paper", "--mix-top-k", "5", "--policy", "direct"
    )
    expected = {"policy": "direct", "top_k": 5, "entropy": "vocab", "prior": "sampling"}
    assert report["moi"] == expected


def test_prompts_come_from_a_file_too(capsys, model, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("one\ntwo\n")
    assert len(run_json(capsys, *model, *SHORT, "--prompts-file", str(file))["outputs"]) == 2


def test_a_broken_chat_template_is_one_line_that_names_the_file(capsys, tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model("qwen3"), tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{% for m in messages %}")
    assert main(["generate", "--model", str(folder), "--chat", "--prompt", "a"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("moi ")]
    assert "--chat: the chat template in " in line
    assert "chat_template.jinja fails: TemplateSyntaxError" in line


def run_moi(*argv, **environment):
    command = [sys.executable, "-m", "moi", "generate", *argv]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment})


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--prompt", b"caf\xe9"], b"prompt 0 is not Unicode text: it holds the byte 0xe9"),
        (["--prompt", "a", "--stop", b"\xff"], b"a stop string is not Unicode text: it holds the byte 0xff"),
        (["--prompt", "a", "--model", b"caf\xe9"], b"does not exist"),
    ],
)
@pytest.mark.slow
def test_arguments_that_are_not_utf8_are_one_line(model, argv, words):
    done = run_moi(*model, *argv)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_a_terminal_that_lacks_characters_gets_escapes(model):
    plain = run_moi(*model, *SHORT, "--prompt", "naïve 東京", PYTHONIOENCODING="ascii")
    assert plain.returncode == 0, plain.stderr
    assert rb"na\xefve \u6771\u4eac" in plain.stdout
    done = run_moi(*model, *SHORT, "--prompt", "東京", "--json", "--beta", "inf", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout.decode("ascii"))["moi"]["beta"] == "inf"


def test_the_chat_template_is_applied_when_asked_for(capsys, model):
    plain = run_json(capsys, *model, *SHORT, "--prompt", "[user] hi\n[assistant] ")
    chat = run_json(capsys, *model, *SHORT, "--prompt", "hi", "--chat")
    assert chat["outputs"] == plain["outputs"]


def test_people_get_a_table(capsys, model):
    assert main(["generate", *model, *SHORT, "--prompt", "hello", "--compare"]) == 0
    out = capsys.readouterr().out
    assert "token (plain)" in out
    assert "moi (beta 1, K 20)" in out
    assert "8 tokens, entropy" in out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "no prompt; give --prompt TEXT or --prompts-file F"),
        (["--prompt", ""], "prompt 0 is empty"),
        (["--prompt", "a", "--beta", "-1"], "beta=-1.0 is not allowed; beta must be a number >= 0"),
        (["--prompt", "a", "--beta", "nan"], "beta=nan is not allowed"),
        (["--prompt", "a", "--mix-top-k", "0"], "top_k=0 is not allowed"),
        (["--prompt", "a", "--temperature", "-1"], "temperature=-1.0 is not allowed"),
        (["--prompt", "a" * 600], "prompt 0 has 600 tokens and max_new_tokens is 256; the model has 512 positions"),
        (["--prompts-file", "nowhere.txt"], "No such file or directory: 'nowhere.txt'"),
        (["--prompt", "a", "--dtype", "int3"], "dtype='int3' is unknown"),
    ],
)
def test_bad_input_is_one_line_and_status_2(capsys, model, argv, words):
    assert main(["generate", *model, *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if line.startswith("moi ")]
    assert line.startswith("moi generate: error: ")
    assert words in line


def test_a_missing_model_is_one_line(capsys):
    assert main(["generate", "--model", "nowhere", "--prompt", "a"]) == 2
    assert "moi generate: error: model folder nowhere does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--policy", "mio"], ["--preset", "best"], ["--engine", "jax"], ["--bogus"]])
def test_unknown_choices_and_flags_end_in_usage(flags, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["generate", "--prompt", "a", *flags])
    assert stop.value.code == 2
    assert "usage: moi generate" in capsys.readouterr().err


def test_python_m_moi_is_the_command():
    out = subprocess.run([sys.executable, "-m", "moi", "--version"], capture_output=True, text=True, check=True)
    assert out.stdout.startswith("mixture-of-inputs ")
