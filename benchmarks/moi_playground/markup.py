"""Tokens, totals and legend as HTML. Every text of a user, a model or a server is escaped here."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from moi import MoIConfig
from moi.policies import UNBOUNDED
from moi_playground.records import Column, Token

SWITCH = ("entropy", "intervention")  # what tokens are coloured by; style.css looks for these values
_LEGENDS = {
    "entropy": "entropy of the distribution that the token was drawn from",
    "intervention": "intervention: share of the next input that is not the token",
}


def style() -> str:
    """The style sheet that the page and the shared file have in common."""
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def level(value: float | None) -> str:
    """The depth of colour of a number, both 0..1: its square root, since most are small; 0 for what is not known."""
    if value is None or math.isnan(value):
        return "0"
    return f"{math.sqrt(min(max(value, 0.0), 1.0)):.3g}"


def numbers(token: Token) -> str:
    """What is known of a token, in words."""
    known = [
        "entropy not told" if token.entropy is None else f"entropy {token.entropy:.3f}",
        "intervention not told" if token.intervention is None else f"intervention {token.intervention:.3f}",
        "mixed" if token.mixed else "not mixed",
    ]
    return ", ".join(known if token.token_id is None else [*known, f"token {token.token_id}"])


def span(token: Token) -> str:
    """A token: its text, its two numbers for the colour, and all that is known of it as the title."""
    kind = ' class="none"' if not token.text else ' class="line"' if "\n" in token.text else ""
    colours = f"--e:{level(token.entropy)};--i:{level(token.intervention)}"
    return f'<span{kind} style="{colours}" title="{numbers(token)}">{escape(token.text)}</span>'


def column(shown: Column, *, table: bool = False) -> str:
    """Title, tokens and totals of a column; with `table`, the numbers of all tokens to unfold below."""
    tokens = "".join(map(span, shown.tokens))
    details = _table(shown) if table and shown.tokens else ""
    return (
        f'<section class="moi-column"><h2>{escape(shown.title)}</h2><div class="moi-tokens">{tokens}</div>'
        f'<p class="moi-totals">{totals(shown)}</p>{details}</section>'
    )


def totals(shown: Column) -> str:
    """The running line of a column."""
    entropy = "not told" if shown.mean_entropy is None else f"{shown.mean_entropy:.3f}"
    count = len(shown.tokens)
    parts = [
        f"<b>{count}</b> token{'' if count == 1 else 's'}",
        f"<b>{shown.rate:.1f}</b> tokens/s",
        f"mean entropy <b>{entropy}</b>",
        f"mixed <b>{shown.mixed_share:.0%}</b>",
    ]
    return " · ".join(parts if shown.finish is None else [*parts, f"ended: <b>{escape(shown.finish)}</b>"])


def legend() -> str:
    """What the colours mean; the style sheet shows the line of the chosen number."""
    lines = "".join(f'<span class="by-{key}">{text}</span>' for key, text in _LEGENDS.items())
    scale = '<span class="scale"><i></i><span>0</span><span>0.25</span><span>1</span></span>'
    return f'<p class="moi-legend">{scale}{lines}</p>'


def message(text: str = "") -> str:
    """A line to the user; nothing for no text."""
    return f'<p class="moi-message" role="alert">{escape(text)}</p>' if text else ""


def title(moi: MoIConfig) -> str:
    """A policy with its parameters."""
    if moi.policy == "token":
        return "plain"
    values = [f"{name} {value:g}" for name, value in moi.parameters if (name, value) not in UNBOUNDED]
    return f"{moi.policy} ({', '.join(values)})" if values else moi.policy


def _table(shown: Column) -> str:
    cells = [
        (
            repr(token.text),
            token.token_id,
            _told(token.entropy),
            _told(token.intervention),
            "yes" if token.mixed else "",
        )
        for token in shown.tokens
    ]
    rows = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in cells)
    head = "".join(f"<th>{name}</th>" for name in ("text", "id", "entropy", "interv.", "mixed"))
    return f"<details><summary>numbers of each token</summary><table><tr>{head}</tr>{rows}</table></details>"


def _told(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
