"""Folders that commands write: whole or not at all, in place of nothing but what an earlier run wrote."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moi_onnx.folder import LIST, check_target, whole_folder

NEW = {"model": "new", "config": "new", "other": "new"}


def put(target: Path, files: dict[str, str], force: bool = False) -> None:
    with whole_folder(target, force, last="config") as draft:
        for name, text in files.items():
            (draft / name).write_text(text)


def held(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != LIST}


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException], existing: bool
) -> None:
    target = tmp_path / "out"
    if existing:
        put(target, {"old": "old"})

    def fail() -> None:
        with whole_folder(target, force=True) as draft:
            (draft / "model").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if existing else [])
    assert not existing or held(target) == {"old": "old"}


def test_force_replaces_what_we_wrote(tmp_path: Path) -> None:
    target = tmp_path / "out"
    put(target, {"old": "old", "config": "old"})
    inode = target.stat().st_ino
    with pytest.raises(FileExistsError, match="is not empty; --force replaces a folder that moi wrote"):
        put(target, NEW)
    put(target, NEW, force=True)
    assert held(target) == NEW
    assert target.stat().st_ino == inode, "the folder itself stays: it may be where somebody stands"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("how", ["added", "changed", "linked", "folder", "hidden", "no list"])
def test_force_spares_what_we_did_not_write(tmp_path: Path, how: str) -> None:
    target = tmp_path / "out"
    put(target, {"config": "old"})
    if how == "added":
        (target / "notes").write_text("mine")
    elif how == "changed":
        (target / "config").write_text("mine")
    elif how == "linked":
        (target / "config").rename(tmp_path / "elsewhere")
        (target / "config").symlink_to(tmp_path / "elsewhere")
    elif how == "folder":
        (target / "sub").mkdir()
    elif how == "hidden":
        (target / ".git").write_text("mine")
    else:
        (target / LIST).unlink()
    before = sorted(path.name for path in target.iterdir())
    with pytest.raises(FileExistsError, match="holds what moi did not write"):
        put(target, NEW, force=True)
    assert sorted(path.name for path in target.iterdir()) == before


def test_what_is_read_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a" / "model"
    put(source, {"config": "ours"})  # though it is ours, it is what is read
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "parent").symlink_to(tmp_path / "a")
    monkeypatch.chdir(source)
    for target in (
        source,
        source.parent,
        tmp_path / "link",
        tmp_path / "parent",
        Path(),
        Path(".."),
        source / ".." / "model",
    ):
        with pytest.raises(ValueError, match="which is read"):
            check_target(target, True, (source,))
    check_target(source / "onnx", False, (source,))


def test_a_link_to_an_empty_folder_and_one_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "nothing"):
        (tmp_path / f"to {name}").symlink_to(tmp_path / name)
        put(tmp_path / f"to {name}", NEW)
        assert (tmp_path / f"to {name}").is_symlink()
        assert held(tmp_path / name) == NEW


def test_files_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="exists and is not a folder"):
        put(tmp_path / "file", NEW, force=True)
    with pytest.raises(NotADirectoryError, match="is a file"):
        put(tmp_path / "file" / "out", NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# A process that forks for each step, so that the imports are paid for once.
_KILLED = """
import os, signal, sys
from pathlib import Path
from moi_onnx import folder
count = 0
def counted(function, step):
    def call(*args, **kwargs):
        global count
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        return function(*args, **kwargs)
    return call
def run(target, step):
    for name in ("rename", "unlink", "write_text"):
        setattr(Path, name, counted(getattr(Path, name), step))
    folder.replace_file = counted(folder.replace_file, step)
    with folder.whole_folder(target, force=True, last="config") as draft:
        for name in ("model", "config", "other"):
            (draft / name).write_text("new")
for step in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        run(Path(sys.argv[1], str(step), "out"), step)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
_STEPS = 30


@pytest.mark.parametrize("existing", ["nothing", "empty", "old"])
def test_a_run_killed_at_any_step_is_not_whole_and_blocks_nothing(tmp_path: Path, existing: str) -> None:
    old = {"model": "old", "config": "old", "gone": "old"}
    targets = [tmp_path / str(step) / "out" for step in range(_STEPS)]
    for target in targets:
        if existing == "old":
            put(target, old)
        elif existing == "empty":
            target.mkdir(parents=True)
    command = [sys.executable, "-W", "ignore", "-c", _KILLED, str(tmp_path), str(_STEPS)]
    codes = [int(code) for code in subprocess.run(command, capture_output=True, check=True).stdout.split()]
    assert set(codes) == {0, -signal.SIGKILL}, "some were killed, some ended"
    for step, (target, code) in enumerate(zip(targets, codes, strict=True)):
        if code == 0:
            assert held(target) == NEW
        elif (target / "config").exists():  # the mark of a whole folder
            files = {name: text for name, text in _files(target).items() if name != LIST}
            assert files == (NEW if files["config"] == "new" else old), f"killed at step {step}"
        put(target, NEW, force=True)
        assert held(target) == NEW
        assert os.listdir(target.parent) == ["out"], "what the killed run left is gone"


def _files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_the_draft_of_a_run_that_lives_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with whole_folder(target) as draft:
        (draft / "config").write_text("mine")
        put(tmp_path / "out-2", NEW)
        put(tmp_path / "ou", NEW)
        assert (draft / "config").exists()
    assert held(target) == {"config": "mine"}
