"""Triton's interpreter without what takes 40 % of its time: see `patch_once`."""

from __future__ import annotations

from typing import Any


def patch_once(interpreter: Any) -> None:
    """`triton.runtime.interpreter` replaces the whole language in each call of a function that is compiled for the
    device. Those that another one calls find it replaced already.
    """
    language, patch = interpreter.tl, interpreter._patch_lang

    def patched(function: Any) -> Any:
        seen = [value for value in function.__globals__.values() if value is language or value is language.core]
        if seen and not any(language.core.is_builtin(each.load) for each in seen):
            return interpreter._LangPatchScope()
        return patch(function)

    interpreter._patch_lang = patched
