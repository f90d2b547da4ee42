"""Chat prompts: the template's special tokens and no others, or one line that names the template's file."""

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from moi_engines.chat import chat_prompt


@pytest.fixture
def tokenizer(tiny_model):
    """Adds <pad> before every text that it encodes, as many add their BOS."""
    made = AutoTokenizer.from_pretrained(tiny_model("llama"))
    made.backend_tokenizer.post_processor = TemplateProcessing(single="<pad> $A", special_tokens=[("<pad>", 0)])
    return made


def test_special_tokens_are_those_of_the_template(tokenizer):
    assert tokenizer("hi").input_ids[0] == 0
    tokenizer.chat_template = "<pad>{{ messages[0].content }}<eos>"
    prompt = chat_prompt(tokenizer, "hi")
    assert prompt.text == "<pad>hi<eos>"
    assert (prompt.ids.count(0), prompt.ids[0], prompt.ids[-1]) == (1, 0, 1)
    tokenizer.chat_template = "{{ messages[0].content }}"
    assert 0 not in chat_prompt(tokenizer, "hi").ids


def test_ids_are_those_of_transformers(tokenizer):
    turn = [{"role": "user", "content": "na\u00efve \U0001f3b2"}]
    wanted = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert chat_prompt(tokenizer, turn[0]["content"]).ids == list(wanted)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m.content }", "TemplateSyntaxError"),
        ("{{ raise_exception('no system\nrole') }}", "TemplateError: no system role"),
        ("{{ user.name.first }}", "UndefinedError"),
        ("{{ messages + 1 }}", "TypeError"),
    ],
)
def test_a_template_that_fails_is_one_line_that_names_its_file(tiny_model, tmp_path, template, reason):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama"))
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(template)
    with pytest.raises(ValueError, match=r"^the chat template in .*chat_template.jinja fails: .*" + reason) as caught:
        chat_prompt(AutoTokenizer.from_pretrained(tmp_path), "hi")
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_a_template_and_text_that_is_no_unicode(tokenizer):
    with pytest.raises(ValueError, match="half a surrogate"):
        chat_prompt(tokenizer, "bad \ud835")
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="has no chat template"):
        chat_prompt(tokenizer, "hi")
