"""Tokenizer: one token per word, nothing added, nothing lost, the same after a save and a load."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moi_eval.countdown import problems, tokenizer, traces

WORDS = tokenizer.vocabulary()
SYMBOL_COUNT = 13
# the first draw imports a tokenizer
relaxed = settings(deadline=None)


@pytest.fixture(scope="module")
def built():
    return tokenizer.build()


def test_vocabulary_holds_every_number_and_symbol_once(built):
    assert len(WORDS) == len(set(WORDS)) == 3 + SYMBOL_COUNT + 100
    assert built.get_vocab() == {word: index for index, word in enumerate(WORDS)}
    assert built.convert_tokens_to_ids(["<pad>", "<eos>", "<unk>"]) == [0, 1, 2]
    assert (built.pad_token_id, built.eos_token_id, built.unk_token_id) == (0, 1, 2)


@relaxed
@given(words=st.lists(st.sampled_from(WORDS), max_size=40))
def test_words_become_one_token_each_and_come_back(words):
    built = tokenizer.build()
    text = " ".join(words)
    ids = built.encode(text)
    assert ids == [WORDS.index(word) for word in words]
    assert built.decode(ids) == text


def test_traces_of_both_games_need_no_unknown_word(built):
    rng = random.Random(0)
    for game in (problems.COUNTDOWN_3, problems.COUNTDOWN_4):
        for _ in range(50):
            problem = problems.sample(rng, "train", game)
            text = f"{problem.prompt} {traces.trace(rng, problem)} <eos>"
            assert built.unk_token_id not in built.encode(text)
            assert built.decode(built.encode(text), skip_special_tokens=True) == text.removesuffix(" <eos>")


@pytest.mark.parametrize("word", ["100", "-3", "07", "x", "7.", "\u0667", "18+7"])
def test_unknown_words_are_kept_as_unknown(built, word):
    assert built.encode(f"18 {word} 7") == [WORDS.index("18"), built.unk_token_id, WORDS.index("7")]


def test_batches_are_padded_on_the_left(built):
    batch = built(["1 2 3 > 6 :", "7"], padding=True)
    assert batch["input_ids"][1] == [0, 0, 0, 0, 0, WORDS.index("7")]
    assert batch["attention_mask"][1] == [0, 0, 0, 0, 0, 1]


def test_there_is_no_chat_template(built):
    assert built.chat_template is None
