"""Files that commands write: whole or not at all, and never over what they did not write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from moi import json_text
from moi.cli import main
from moi.files import check_file, replace_file, write_file
from moi_bench import rows as bench_rows
from moi_bench.report import testing

NOTES = b"my notes\r\nno newline at the end"


def ours(path: Path) -> bool:
    return bool(json.loads(path.read_bytes())["mine"])


@pytest.mark.parametrize("content", [NOTES, b"[]", b"[1", b'{"mine": false}', b"[" * 100_000, b"\xff\xfe\0", b"null"])
@pytest.mark.parametrize("through", ["file", "link", "dots"])
def test_what_is_not_ours_stays(tmp_path: Path, content: bytes, through: str) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "sub").mkdir()
    out = {"file": file, "link": tmp_path / "link", "dots": tmp_path / "sub" / ".." / file.name}[through]
    with pytest.raises(FileExistsError, match="exists and is not a thing; it is left as it is"):
        write_file(out, "new", ours, "a thing")
    assert file.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "model.safetensors", "sub"]


def test_ours_and_empty_files_are_replaced_with_their_mode_and_links(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch(mode=0o640)
    link.symlink_to(file)
    for number in range(3):
        write_file(link, json_text.dumps({"mine": True, "n": number}), ours, "a thing")
        assert json.loads(file.read_text())["n"] == number
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    write_file(tmp_path / "a" / "b" / "new", "x", ours, "a thing")
    assert (tmp_path / "a" / "b" / "new").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_folders_and_files_in_the_way_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(IsADirectoryError, match=r"--out .* is a folder"):
        check_file(tmp_path, ours, "a thing")
    with pytest.raises(NotADirectoryError, match="is a file, so nothing can be written below it"):
        check_file(tmp_path / "file" / "deep" / "out", ours, "a thing")
    check_file(tmp_path / "deep" / "out", ours, "a thing")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_error_while_writing_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("moi.files.os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        replace_file(file, b"new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_devices_are_written_to(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_file(Path("/dev/null"), "x", ours, "a thing")
    assert Path("/dev/null").is_char_device()
    write_file(Path("/dev/stderr"), "said", ours, "a thing")
    assert b"said" in capfdbinary.readouterr().err


def test_rows_replace_rows_of_their_kind_alone(tmp_path: Path) -> None:
    paths = {path.stem: path for path in testing.write_samples(tmp_path) if path.suffix == ".json"}
    for kind, path in (("op", paths["op"]), ("engine", paths["engines"]), ("serve", paths["serve"])):
        bench_rows.prepare(path, kind)
        for other in {"op", "engine", "serve", "sglang"} - {kind}:
            with pytest.raises(FileExistsError, match=f"is not a results file of {other} rows"):
                bench_rows.prepare(path, other)


@pytest.mark.parametrize(
    "argv",
    [
        ["bench", "op", "--suite", "laptop", "--out"],
        ["bench", "engines", "--suite", "laptop", "--out"],
        ["bench", "serve", "--out"],
        ["eval", "countdown", "--n", "1", "--out"],
        ["selftest", "--report"],
        ["report", "RESULTS", "--out"],
        ["report", "RESULTS", "--markdown"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("content", [NOTES, b"\x10\0\0\0\0\0\0\0{}", b'{"kind": "mine"}\n', b"[]\n"])
def test_no_command_writes_over_a_foreign_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], content: bytes
) -> None:
    file = tmp_path / "precious"
    file.write_bytes(content)
    (results,) = [path for path in testing.write_samples(tmp_path / "r") if path.stem == "op"]
    assert main([str(results) if word == "RESULTS" else word for word in argv] + [str(file)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert file.read_bytes() == content


def test_markdown_changes_between_its_markers_alone(tmp_path: Path) -> None:
    (results,) = [path for path in testing.write_samples(tmp_path / "r") if path.stem == "op"]
    before, after = b"\xef\xbb\xbf# T\r\n\r\n<!-- moi report: op -->\r\n", b"<!-- moi report: end -->\r\nend \x0b\n\n"
    file = tmp_path / "a.md"
    file.write_bytes(before + b"old\r\n" + after)
    assert main(["report", str(results), "--markdown", str(file)]) == 0
    text = file.read_bytes()
    assert text.startswith(before)
    assert text.endswith(after)
    assert b"| case | implementation |" in text[len(before) : -len(after)]
    (tmp_path / "b.md").write_text("no markers")
    assert main(["report", str(results), "--markdown", str(file), str(tmp_path / "b.md")]) == 2
    assert file.read_bytes() == text
