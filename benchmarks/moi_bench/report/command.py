"""`moi report`: results files as one HTML page, and as tables between the markers of Markdown files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from moi.files import check_file, replace_file, write_file
from moi_bench.report.markdown import filled
from moi_bench.report.page import is_page, page
from moi_bench.report.results import read

_PAGE = "a page that moi report wrote"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi report`."""
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help="what moi bench and moi eval wrote")
    parser.add_argument("--out", type=Path, metavar="FILE.html", help="the page")
    parser.add_argument("--markdown", nargs="+", type=Path, default=[], metavar="FILE.md", help="fill marked tables")


def run(args: argparse.Namespace) -> int:
    """Write the report, or the tables of Markdown files; 0."""
    if args.out is None and not args.markdown:
        raise ValueError("nothing to write; give --out FILE.html or --markdown FILE.md")
    if args.out is not None:
        check_file(args.out, is_page, _PAGE)
    results = read(args.results)
    texts = {path: filled(path, results) for path in args.markdown}  # all of them before any is written
    if args.out is not None:
        write_file(args.out, page(results), is_page, _PAGE)
        sys.stdout.write(f"wrote {args.out}\n")
    for path, text in texts.items():
        replace_file(path.resolve(), text.encode())
        sys.stdout.write(f"filled {path}\n")
    return 0
