"""A run as one HTML file that needs nothing else: no script, no address, readable without a network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import moi
from moi_playground import markup
from moi_playground.records import Ask, Column

_STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
body { margin: 0 auto; max-width: 75rem; padding: 1rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.5rem; }
fieldset { border: 0; padding: 0; margin: 1em 0 0; }
label { margin-right: 1em; }
"""


def document(ask: Ask, columns: Sequence[Column], model: str, where: str) -> str:
    """The whole file."""
    radios = "".join(map(_radio, markup.SWITCH))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Mixture of Inputs: {escape(markup.title(ask.moi))}</title>"
        f"<style>{_STYLE}{markup.style()}</style></head><body>"
        f"<h1>Mixture of Inputs</h1><p>{escape(settings(ask, model, where))}</p><pre>{escape(ask.prompt)}</pre>"
        f"<fieldset><legend>Tokens coloured by</legend>{radios}</fieldset>{markup.legend()}"
        f"<main>{''.join(markup.column(each, table=True) for each in columns)}</main></body></html>\n"
    )


def settings(ask: Ask, model: str, where: str) -> str:
    """The line that says how it was made."""
    given = ask.sampling
    made = f"{model} ({where}), mixture-of-inputs {moi.__version__}, temperature {given.temperature:g}"
    chat = ", chat template" if ask.chat else ""
    return f"{made}, top_p {given.top_p:g}, at most {given.max_new_tokens} tokens, seed {given.seed}{chat}"


def _radio(key: str) -> str:
    checked = " checked" if key == markup.SWITCH[0] else ""
    return f'<label><input type="radio" name="by" value="{key}"{checked}> {key}</label>'
