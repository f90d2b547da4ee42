"""Prompts from a file or standard input, one a line."""

from __future__ import annotations

import sys
from pathlib import Path

_BOM = b"\xef\xbb\xbf"


def read_prompts(source: str) -> list[str]:
    """The lines of a UTF-8 file; "-" is standard input, whose bytes are read the same way.

    Only a line feed parts prompts (a carriage return before it belongs to it); what other standards call line
    ends stays inside them. Blank lines and a byte order mark at the beginning are left out. Raises OSError, or
    ValueError that names the line that is not UTF-8.
    """
    data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    name = "standard input" if source == "-" else source
    lines = data.removeprefix(_BOM).split(b"\n")
    texts = [_decoded(name, number, line.removesuffix(b"\r")) for number, line in enumerate(lines, 1)]
    return [text for text in texts if text.strip()]


def _decoded(name: str, number: int, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} line {number} is not UTF-8: {error.reason} at byte {error.start}") from None
