"""The tokenizer of the Countdown model: one token per integer 0..99 and one per symbol, words split at white space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moi_eval.countdown.rules import LARGEST, OPERATORS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
SYMBOLS = (">", ":", ";", "=", "no", "ok", "!", "(", ")", *OPERATORS)
CONTEXT = 512


def vocabulary() -> list[str]:
    """Every token; its index is its id."""
    return [PAD, EOS, UNKNOWN, *SYMBOLS, *map(str, range(LARGEST + 1))]


def build() -> PreTrainedTokenizerFast:
    """A fast tokenizer that adds no token of its own; a word outside the vocabulary becomes `<unk>`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {token: index for index, token in enumerate(vocabulary())}
    core = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        model_max_length=CONTEXT,
        # otherwise "ok ! 7" is decoded as "ok! 7"
        clean_up_tokenization_spaces=False,
    )
