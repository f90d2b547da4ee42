"""Files of prompts: one a line, the same bytes read the same way wherever they come from."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moi_engines.prompts import read_prompts


@pytest.fixture(params=["file", "standard input"])
def read(request, tmp_path, monkeypatch):
    def call(data):
        if request.param == "standard input":
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="latin-1"))
            return read_prompts("-")
        (tmp_path / "p.txt").write_bytes(data)
        return read_prompts(str(tmp_path / "p.txt"))

    return call


def test_a_line_feed_alone_parts_prompts(read):
    prompts = ["a\u2028b", "c\u0085d", "e\x0bf\x0cg\x1ch", "i\rj", " two  spaces "]
    assert read("\n".join(prompts).encode()) == prompts


def test_blank_lines_carriage_returns_and_a_byte_order_mark_are_no_prompts(read):
    assert read(b"\xef\xbb\xbfone\r\n\r\n\n  \ntwo\r\n") == ["one", "two"]
    assert read(b"") == []


def test_bytes_that_are_not_utf8_name_the_line(read):
    with pytest.raises(ValueError, match=r"(p\.txt|standard input) line 2 is not UTF-8"):
        read(b"one\ncaf\xe9\n")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\ufeff"), min_size=1)))
def test_lines_come_back_as_they_were_written(tmp_path_factory, lines):
    file = tmp_path_factory.getbasetemp() / "lines.txt"
    file.write_bytes("\n".join(lines).encode())
    assert read_prompts(str(file)) == [line for line in lines if line.strip()]
