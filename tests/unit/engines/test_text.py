"""Incremental text: equal to decoding at once, cut at stop strings."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from moi_engines.text import TextStream


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model("qwen3"))


def feed(tokenizer, text, stop=()):
    stream, parts, stopped = TextStream(tokenizer, stop), [], False
    for token_id in tokenizer(text).input_ids:
        part, stopped = stream.push(token_id)
        parts.append(part)
        if stopped:
            break
    return parts, stopped, stream.flush()


def test_characters_of_several_tokens_appear_whole(tokenizer):
    parts, _, rest = feed(tokenizer, "naïve 東京 🎲")
    assert "".join(parts) + rest == "naïve 東京 🎲"
    assert not any("\ufffd" in part for part in parts)


def test_text_ends_before_the_stop_string(tokenizer):
    parts, stopped, rest = feed(tokenizer, "one two three", ("two", "three"))
    assert ("".join(parts), stopped, rest) == ("one ", True, "")


def test_the_beginning_of_a_stop_string_is_held_back_until_decided(tokenizer):
    parts, stopped, rest = feed(tokenizer, "abcabd", ("abd",))
    assert parts == ["", "", "abc", "", "", ""]
    assert stopped
    parts, stopped, rest = feed(tokenizer, "xxab", ("abd",))
    assert ("".join(parts), stopped, rest) == ("xx", False, "ab")


def test_a_stop_string_may_be_a_special_token(tokenizer):
    assert feed(tokenizer, "ab<eos>cd", ("<eos>",)) == (["a", "b", ""], True, "")
    assert feed(tokenizer, "ab<eos>cd") == (["a", "b", "", "c", "d"], False, "")


def test_a_stop_string_may_span_text_and_special_tokens(tokenizer):
    parts, stopped, _ = feed(tokenizer, "one b<eos>cd", ("b<eos>c",))
    assert ("".join(parts), stopped) == ("one ", True)
    parts, stopped, rest = feed(tokenizer, "one b<eos>d", ("b<eos>c",))
    assert ("".join(parts) + rest, stopped) == ("one bd", False)


def test_half_a_character_before_a_special_token_that_stops_is_text(tokenizer):
    half, eos = tokenizer("é").input_ids[0], tokenizer.eos_token_id
    stream = TextStream(tokenizer, ("<eos>",))
    assert stream.push(half) == ("", False)
    assert stream.push(eos) == ("\ufffd", True)


def test_nothing_comes_after_a_stop_string(tokenizer):
    stream = TextStream(tokenizer, ("a",))
    a, b = tokenizer("ab").input_ids
    assert stream.push(a) == ("", True)
    assert stream.push(b) == ("", True)
    assert stream.flush() == ""


@settings(deadline=None)
@given(st.text("ab<eos>é🎲", max_size=30), st.lists(st.text("ab<é🎲", min_size=1, max_size=4), min_size=1, max_size=3))
def test_text_is_what_comes_before_the_first_stop_string(tokenizer, text, stop):
    """Whichever stop string is complete first ends the text, as a search after each character finds it."""
    grown = next((text[:n] for n in range(len(text) + 1) if any(word in text[:n] for word in stop)), None)
    expected = text if grown is None else grown[: min(at for at in map(grown.find, stop) if at >= 0)]
    parts, stopped, rest = feed(tokenizer, text, stop)
    assert ("".join(parts) + rest, stopped) == (expected.replace("<eos>", ""), grown is not None)
