"""What the playground writes: escaped, coloured by its numbers, and complete in one shared file."""

from __future__ import annotations

import html
import math
import re
from html.parser import HTMLParser

import pytest

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_playground import markup, share
from moi_playground.records import Ask, Column, Token

EVIL = "<script>alert(1)</script>&\"'${1+1}{{7*7}}"
TOKENS = [Token(EVIL, 17, 0.25, 0.125), Token("", None, None, None), Token("a\nb", 3, 1.0, 0.0)]


class Tags(HTMLParser):
    """Names and attributes of all tags, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags = list[str]()
        self.attributes = list[tuple[str, str | None]]()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def document() -> str:
    ask = Ask(EVIL, True, SamplingParams(seed=7, temperature=0.5), MoIConfig(beta=0.5))
    columns = [Column(EVIL, TOKENS, EVIL, 2.0), Column("moi", TOKENS[:1])]
    return share.document(ask, columns, EVIL, EVIL)


@pytest.mark.parametrize(
    "written",
    [
        markup.span(TOKENS[0]),
        markup.column(Column(EVIL, TOKENS, EVIL), table=True),
        markup.message(EVIL),
        document(),
    ],
    ids=["span", "column", "message", "document"],
)
def test_no_text_becomes_markup(written: str) -> None:
    parsed = Tags(written)
    assert "script" not in parsed.tags
    assert EVIL in parsed.text
    assert not any(name.startswith("on") for name, _ in parsed.attributes)


def test_a_token_says_its_numbers() -> None:
    assert markup.numbers(TOKENS[0]) == "entropy 0.250, intervention 0.125, mixed, token 17"
    assert markup.numbers(TOKENS[1]) == "entropy not told, intervention not told, not mixed"
    assert "not mixed, token 3" in markup.span(TOKENS[2])


def test_the_scale_is_the_square_root_and_stays_within_its_ends() -> None:
    assert [markup.level(value) for value in (0, 0.25, 1)] == ["0", "0.5", "1"]
    assert [markup.level(value) for value in (-1, 2, None, math.nan, math.inf)] == ["0", "1", "0", "0", "1"]
    depths = [float(markup.level(step / 100)) for step in range(101)]
    assert depths == sorted(set(depths))
    assert '--e:0.5;--i:0.354"' in markup.span(TOKENS[0])


def test_totals_are_of_the_tokens() -> None:
    told = html.unescape(re.sub(r"<.*?>", "", markup.totals(Column("x", TOKENS, "eos", 2.0))))
    assert told == "3 tokens · 1.5 tokens/s · mean entropy 0.625 · mixed 33% · ended: eos"
    assert markup.totals(Column("x")).startswith("<b>0</b> tokens · <b>0.0</b> tokens/s · mean entropy <b>not told")


def test_the_shared_file_needs_nothing_else() -> None:
    text = document()
    assert not re.findall(r"(?:https?:)?//[\w.]|@import|url\(|<link|\bsrc=|\bhref=", text)
    assert "default-src 'none'" in text
    parsed = Tags(text)
    assert parsed.tags.count("section") == 2
    assert "temperature 0.5, top_p 1, at most 256 tokens, seed 7, chat template" in parsed.text


def test_the_title_of_a_policy_has_its_parameters() -> None:
    assert markup.title(MoIConfig(beta=0.5)) == "moi (beta 0.5)"
    assert markup.title(MoIConfig("soft", min_entropy=0.1)) == "soft (top_p 0.95, min_p 0.001, min_entropy 0.1)"
    assert markup.title(MoIConfig("direct")) == "direct"
    assert markup.title(MoIConfig("token")) == "plain"
