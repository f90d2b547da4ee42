"""What can be said of a text without knowing its problem."""

from __future__ import annotations

LENGTH = 4


def repeated(text: str) -> float:
    """The share of a text's 4-grams of words that stood in it before, 0..1; 0 for fewer than four words."""
    words = text.split()
    grams = [tuple(words[start : start + LENGTH]) for start in range(len(words) - LENGTH + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
