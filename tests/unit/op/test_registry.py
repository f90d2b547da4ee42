"""The lazy table of names."""

import sys

import pytest

from moi.registry import Registry


def test_an_entry_is_imported_when_asked_for(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    registry = Registry("thing", {"a": "colorsys:rgb_to_hsv"})
    assert "colorsys" not in sys.modules
    assert registry["a"](0.0, 0.0, 0.0) == (0.0, 0.0, 0.0)
    assert list(registry) == ["a"]


def test_an_unknown_name_lists_the_allowed_ones():
    with pytest.raises(ValueError, match=r"engine='c' is unknown; allowed: a, b"):
        Registry("engine", {"a": "x:y", "b": "x:y"})["c"]
