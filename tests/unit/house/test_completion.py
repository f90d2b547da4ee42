"""`moi completion` in a real bash: sub-commands, options, choices and files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from moi.cli import COMMANDS, main

pytest.importorskip("shtab")
BASH = shutil.which("bash")


@pytest.fixture(scope="module")
def script() -> str:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["completion", "bash"]) == 0
    return out.getvalue()


def completed(script: str, words: str, folder: Path) -> list[str]:
    """What bash offers for the last of these words."""
    given = words.split(" ")
    program = f"""{script}
COMP_WORDS=({" ".join(repr(word) for word in given)}) COMP_CWORD={len(given) - 1} COMP_LINE={words!r}
_shtab_moi {given[0]} {given[-1]!r} {given[-2]!r}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run([str(BASH), "-c", program], capture_output=True, text=True, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_bash_completes_commands_options_choices_and_files(script: str, tmp_path: Path) -> None:
    assert set(completed(script, "moi ", tmp_path)) >= set(COMMANDS)
    assert completed(script, "moi gen", tmp_path) == ["generate"]
    assert "--prompt" in completed(script, "moi generate --pr", tmp_path)
    assert "vllm" in completed(script, "moi serve --engine ", tmp_path)
    (tmp_path / "rows.json").touch()
    assert "rows.json" in completed(script, "moi report --out ro", tmp_path)


def test_an_unknown_shell_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "fish"])
    assert "invalid choice: 'fish'" in capsys.readouterr().err
