"""Streamed text is the text of all ids, whatever the ids and the tokenizer."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from moi_engines.detokenizer import Detokenizer
from moi_engines.text import TextStream

SPECIAL = ["<pad>", "<eos>", "<|im_end|>"]
_BYTES = [f"<0x{value:02X}>" for value in range(256)]
_WORDS = [
    "▁",
    "▁▁",
    "Hi",
    "▁the",
    "a",
    "é",
    "東京",
    "🎲",
    "\ufffd",
    ".",
    "▁.",
    "\n",
    "<",
    "0x41>",
    "▁'",
    "'",
    "s",
    "▁n't",
]
_PIECES = ["a", "##b", "##", "##é", ".", "!", "'", "s", "n't", "m", "do", "not", "[UNK]", "東", " '", "x ."]


def _tokenizer(words, decoder, model=None, **settings):
    words = list(dict.fromkeys([*SPECIAL, *words]))
    vocab = {word: i for i, word in enumerate(words)}
    backend = Tokenizer(model(vocab) if model else models.BPE(vocab=vocab, merges=[]))
    if decoder is not None:
        backend.decoder = decoder
    backend.add_special_tokens([AddedToken(word, special=True) for word in SPECIAL])
    backend.add_tokens([AddedToken("<tool call>", special=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", pad_token="<pad>", **settings)


def _sequence(*steps):
    return decoders.Sequence(list(steps))


def _unigram(vocab):
    return models.Unigram([(word, 0.0) for word in vocab], 0, False)


def _word_piece(vocab):
    return models.WordPiece(vocab, unk_token="[UNK]")


_SPACE, _FALLBACK, _FUSE = decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()
_LEVEL = [*pre_tokenizers.ByteLevel.alphabet(), "Ġa", "ĠĠ", "é", "ðŁ", "Ģ", "ï¿½", "åħ", "x é"]
MAKERS = {
    "gemma": lambda: _tokenizer([*_BYTES, *_WORDS], _sequence(_SPACE, _FALLBACK, _FUSE)),
    "llama": lambda: _tokenizer([*_BYTES, *_WORDS], _sequence(_SPACE, _FALLBACK, _FUSE, decoders.Strip(" ", 1, 0))),
    "strip 3": lambda: _tokenizer(_WORDS, _sequence(_SPACE, _FUSE, decoders.Strip(" ", 3, 0))),
    "byte level": lambda: _tokenizer(_LEVEL, decoders.ByteLevel()),
    "metaspace": lambda: _tokenizer(_WORDS, decoders.Metaspace(), _unigram),
    "metaspace never": lambda: _tokenizer(_WORDS, decoders.Metaspace(prepend_scheme="never"), _unigram),
    "metaspace bytes": lambda: _tokenizer([*_BYTES, *_WORDS], _sequence(_FALLBACK, decoders.Metaspace()), _unigram),
    "cleanup": lambda: _tokenizer(_WORDS, decoders.Metaspace(), _unigram, clean_up_tokenization_spaces=True),
    "word piece": lambda: _tokenizer(_PIECES, decoders.WordPiece(cleanup=True), _word_piece),
    "word piece cleanup": lambda: _tokenizer(
        _PIECES, decoders.WordPiece(cleanup=False), _word_piece, clean_up_tokenization_spaces=True
    ),
    "bpe suffix": lambda: _tokenizer(["a</w>", "b", "</w>", "c</w>d", "é</w></w>"], decoders.BPEDecoder()),
    "ctc": lambda: _tokenizer(["a", "b", "|", "'", "x ."], decoders.CTC()),
    "no decoder": lambda: _tokenizer(["a", "b", "é", ".", "'"], None, clean_up_tokenization_spaces=True),
    "whole text": lambda: _tokenizer(_WORDS, _sequence(_FUSE, decoders.Replace(Regex("a+H"), "<"))),
}

make = cache(lambda name: MAKERS[name]())
read = cache(AutoTokenizer.from_pretrained)


def streamed(tokenizer, ids):
    stream = TextStream(tokenizer, ())
    return "".join(stream.push(i)[0] for i in ids) + stream.flush()


def some_ids(tokenizer):
    """Ids the model may sample, beyond the vocabulary too; near repeats, for runs of one kind."""
    ids = st.integers(0, len(tokenizer) + 2)
    runs = st.lists(st.tuples(ids, st.integers(1, 6)), max_size=30)
    return st.one_of(st.lists(ids, max_size=120), runs.map(lambda pairs: [i for i, n in pairs for _ in range(n)]))


@pytest.mark.parametrize("name", MAKERS)
@settings(deadline=None)
@given(data=st.data())
def test_streamed_text_equals_decoding_all_ids(name, data):
    tokenizer = make(name)
    ids = data.draw(some_ids(tokenizer))
    assert streamed(tokenizer, ids) == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("name", ["gemma", "llama", "byte level", "metaspace", "cleanup", "word piece"])
@settings(deadline=None)
@given(text=st.text(max_size=60))
def test_streamed_text_of_encoded_text_too(name, text):
    tokenizer = make(name)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert streamed(tokenizer, ids) == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("name", ["smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b"])
@settings(deadline=None)
@given(data=st.data())
def test_real_vocabularies(real_model, name, data):
    tokenizer = read(real_model(name))
    of_text = st.text(max_size=60).map(lambda text: tokenizer.encode(text, add_special_tokens=False))
    bytes_of_gemma = st.lists(st.sampled_from([*range(238, 494), 10979, 1, 106]), max_size=40)
    ids = data.draw(st.one_of(some_ids(tokenizer), of_text, bytes_of_gemma))
    assert streamed(tokenizer, ids) == tokenizer.decode(ids, skip_special_tokens=True)


def ids_of(tokenizer, *tokens):
    return tokenizer.convert_tokens_to_ids(list(tokens))


def pieces(name, *tokens):
    tokenizer = make(name)
    stream = TextStream(tokenizer, ())
    return [stream.push(i)[0] for i in ids_of(tokenizer, *tokens)], stream.flush()


def test_bytes_that_are_no_text_become_replacement_characters():
    assert pieces("gemma", "<0xFF>", "Hi") == (["", "\ufffdHi"], "")
    assert pieces("byte level", "ðŁ", "a") == (["", "\ufffda"], "")


def test_half_a_character_at_the_end_is_not_lost():
    assert pieces("gemma", "Hi", "<0xE6>", "<0x9D>") == (["Hi", "", ""], "\ufffd\ufffd")
    assert pieces("byte level", "a", "ðŁ") == (["a", ""], "\ufffd")


def test_real_replacement_characters_are_kept_and_do_not_hold_up_what_follows():
    assert pieces("gemma", "Hi", "\ufffd", "a") == (["Hi", "\ufffd", "a"], "")
    assert pieces("byte level", "a", "ï¿½", "b", "c") == (["a", "", "\ufffdb", "c"], "")


@pytest.mark.parametrize("name", ["gemma", "llama", "metaspace", "word piece"])
def test_a_token_that_is_certain_appears_at_once(name):
    got, rest = pieces(name, *(["a", "."] * 40))
    assert all(got)
    assert rest == ""


class Counted:
    """A backend that counts the tokens it decodes."""

    def __init__(self, backend):
        self.backend, self.tokens = backend, 0

    def decode(self, ids, **options):
        self.tokens += len(ids)
        return self.backend.decode(ids, **options)

    def __getattr__(self, name):
        return getattr(self.backend, name)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("gemma", ["<0xE6>"]),
        ("gemma", ["a", "<0xFF>"]),
        ("byte level", ["ðŁ"]),
        ("byte level", ["Ģ", "a"]),
        ("llama", ["▁", "a"]),
        ("word piece", ["##", "a"]),
        ("whole text", ["a"]),
    ],
)
def test_work_grows_with_the_text_not_with_its_square(name, tokens):
    tokenizer = make(name)
    decoder = Detokenizer(tokenizer)
    decoder._backend = counted = Counted(decoder._backend)
    ids = ids_of(tokenizer, *tokens) * (4000 // len(tokens))
    for token_id in ids:
        decoder.push(token_id)
    decoder.rest()
    assert counted.tokens <= 40 * len(ids)
