"""The torch engine on pretrained models, and transformers' own generate beside it."""

import pytest
import torch

from moi_engines import SamplingParams

pytestmark = pytest.mark.timeout(1800)


def test_every_token_is_one_the_reference_would_choose(real, telling):
    for cases in (real.greedy, real.sampled):
        outputs = real.expected[id(cases)]
        real.judge(cases, outputs, range(len(outputs)))
        telling(cases, outputs)


def test_plain_rows_are_those_of_transformers_generate(real, output):
    model, tokenizer = real.engine.checkpoint.model, real.engine.tokenizer
    outputs = list(real.expected[id(real.greedy)])
    for row, prompt in enumerate(real.prompts[::2]):
        with torch.inference_mode():
            ids = torch.tensor([prompt])
            found = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=64,
                min_new_tokens=64,
                eos_token_id=None,
                pad_token_id=tokenizer.pad_token_id,
            )[0, len(prompt) :].tolist()
        outputs[row] = output(found)
    real.check(real.greedy, outputs)


def test_mixing_changes_what_is_generated(real):
    plain, mixed = real.expected[id(real.sampled)]
    assert plain.token_ids != mixed.token_ids


def test_streamed_text_is_the_decoding_of_its_ids(real):
    sampling = SamplingParams(temperature=1.0, max_new_tokens=64, ignore_eos=True, seed=3)
    texts, ids = [""] * len(real.prompts), [[] for _ in real.prompts]
    for event in real.engine.stream(real.prompts, sampling):
        texts[event.row] += event.text
        ids[event.row].append(event.token_id)
    tokenizer = real.engine.tokenizer
    assert texts == [tokenizer.decode(row, skip_special_tokens=True) for row in ids]


def test_texts_are_tokenised_as_the_model_was_trained(real):
    """Without its BOS, Gemma writes nonsense; chat templates bring theirs."""
    tokenizer = real.engine.tokenizer
    begins = tokenizer("The sky").input_ids[0] == tokenizer.bos_token_id
    assert begins == (real.name == "gemma3-270m")
    assert tokenizer.decode(tokenizer("Grüße, 世界 🌍!", add_special_tokens=False).input_ids) == "Grüße, 世界 🌍!"
