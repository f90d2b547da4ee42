"""Prompts in a model's own chat format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from moi_engines.unicode import check_unicode


class ChatPrompt(NamedTuple):
    """A rendered conversation; `ids` have the special tokens that the template writes and no others."""

    text: str
    ids: list[int]


def chat_prompt(tokenizer: Any, message: str) -> ChatPrompt:
    """A user's message up to where the assistant's answer begins.

    Raises ValueError if the tokenizer has no chat template, the template fails (it names the file), or the
    message is no Unicode text.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError("the model's tokenizer has no chat template")
    check_unicode("a chat message", message)
    turn = [{"role": "user", "content": message}]
    try:
        text = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # a template is a program: it may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"the chat template in {_template_file(tokenizer)} fails: {reason}") from error
    return ChatPrompt(text, list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]))


def _template_file(tokenizer: Any) -> Path:
    folder = Path(tokenizer.name_or_path)
    own = folder / "chat_template.jinja"
    return own if own.is_file() else folder / "tokenizer_config.json"
