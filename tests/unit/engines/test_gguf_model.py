"""GGUF files as model folders: a file written here, with the weights of a tiny model, decodes as that model."""

import json
import threading

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from moi.cli import main
from moi_engines import SamplingParams, load_engine
from moi_engines.gguf_model import converted, set_bos
from moi_engines.model_source import resolve_model

gguf = pytest.importorskip("gguf", reason="needs gguf: pip install 'mixture-of-inputs[gguf]'")
_LAYER = {
    **{"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj"},
    **{"attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj"},
    **{"ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"},
}


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(folder, path, *, add_bos=None, bits=32):
    """The tiny Llama of `folder` as a GGUF file of float32, or of blocks of 8 bits."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    config, weights = model.config, model.state_dict()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    write_vocabulary(writer, AutoTokenizer.from_pretrained(folder), add_bos)
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    for layer in range(config.num_hidden_layers):
        names |= {f"blk.{layer}.{ours}": f"model.layers.{layer}.{theirs}" for ours, theirs in _LAYER.items()}
    for ours, theirs in names.items():
        tensor = weights[f"{theirs}.weight"].numpy()
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(ours.split(".")[-1])
        if heads:  # GGUF keeps the two halves of a rotated pair side by side
            tensor = np.ascontiguousarray(
                tensor.reshape(heads, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
            )
        kind = gguf.GGMLQuantizationType.Q8_0
        if bits == 8 and tensor.ndim == 2:
            writer.add_tensor(f"{ours}.weight", gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(f"{ours}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_vocabulary(writer, tokenizer, add_bos):
    words = [*tokenizer.convert_ids_to_tokens(range(len(tokenizer) - 1)), "ab"]  # transformers wants one merge at least
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_types([3 if word in ("<pad>", "<eos>") else 1 for word in words])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    writer.add_chat_template(tokenizer.chat_template)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)


@pytest.fixture
def file(tiny_model, tmp_path):
    return write(tiny_model("llama"), tmp_path / "tiny.gguf")


SAMPLING = SamplingParams(temperature=0, max_new_tokens=24, ignore_eos=True)
PROMPTS = [[40, 90, 17, 33], [5]]


def test_a_gguf_file_decodes_as_the_model_it_was_made_of(file, tiny_model):
    expected = load_engine("torch", tiny_model("llama")).generate(PROMPTS, SAMPLING)
    engine = load_engine("torch", str(file))
    assert [out.token_ids for out in engine.generate(PROMPTS, SAMPLING)] == [out.token_ids for out in expected]
    assert engine.limits.eos == {1}
    assert engine.tokenizer.chat_template == AutoTokenizer.from_pretrained(tiny_model("llama")).chat_template


@pytest.mark.slow
def test_bench_engines_measures_a_file_by_its_name(file, tmp_path):
    flags = ["--engine", "torch", "--batch", "1", "--context", "4", "--new-tokens", "2", "--repeats", "1"]
    assert main(["bench", "engines", "--model", str(file), *flags, "--out", str(tmp_path / "rows.json")]) == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert (row["status"], row["case"]["model"], row["case"]["real"]) == ("ok", "tiny", True)


def test_quantised_weights_become_a_bfloat16_folder_without_a_trace_of_the_quantisation(tiny_model, tmp_path):
    folder = resolve_model(write(tiny_model("llama"), tmp_path / "q8.gguf", bits=8))
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "quantization_config" not in config
    got = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    for name, weight in AutoModelForCausalLM.from_pretrained(tiny_model("llama")).state_dict().items():
        step = weight.abs().max() / 127
        torch.testing.assert_close(got[name].float(), weight, rtol=2**-8, atol=float(step))


@pytest.mark.parametrize("add_bos", [True, False])
def test_the_tokenizer_begins_texts_as_the_file_says(tiny_model, tmp_path, add_bos):
    folder = resolve_model(write(tiny_model("llama"), tmp_path / "bos.gguf", add_bos=add_bos))
    ids = AutoTokenizer.from_pretrained(folder)("12").input_ids
    assert (ids[0] == 0) is add_bos
    assert AutoTokenizer.from_pretrained(folder)("12", add_special_tokens=False).input_ids == ids[add_bos:]


def test_a_bos_can_be_taken_away_again(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama"))
    plain = tokenizer("12").input_ids
    set_bos(tokenizer, 0, wanted=True)
    assert tokenizer("12").input_ids == [0, *plain]
    set_bos(tokenizer, 0, wanted=False)
    assert tokenizer("12").input_ids == plain


def test_a_file_is_converted_once_by_its_contents(file, monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(
        "moi_engines.gguf_model.convert",
        lambda source, out: made.append(source) or (out / "config.json").write_text("{}"),
    )
    together = [threading.Thread(target=converted, args=(file,)) for _ in range(3)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    folder = converted(file)
    renamed = file.rename(tmp_path / "tiny2.gguf").rename(tmp_path / "tiny.gguf")
    assert converted(renamed) == folder
    assert len(made) == 1
    renamed.write_bytes(renamed.read_bytes() + b"\0")
    assert converted(renamed) != folder
    assert len(made) == 2


def test_a_folder_of_one_gguf_file_is_that_file(file, tiny_model, tmp_path):
    (tmp_path / "repo").mkdir()
    moved = file.rename(tmp_path / "repo" / "tiny.gguf")
    assert resolve_model(str(tmp_path / "repo")) == converted(moved)
    write(tiny_model("llama"), tmp_path / "repo" / "other.gguf")
    with pytest.raises(ValueError, match=r"holds several GGUF files, name one: other.gguf, tiny.gguf"):
        resolve_model(tmp_path / "repo")


@pytest.mark.parametrize("size", [4, 30, 2000, -100])
def test_a_file_that_is_cut_short_is_one_line_and_leaves_nothing(file, size, capsys, tmp_path):
    file.write_bytes(file.read_bytes()[:size])
    assert main(["generate", "--model", str(file), "--prompt", "1"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith(f"moi generate: error: GGUF file {file} cannot be read: ")
    assert not [
        path for path in (tmp_path / "cache").rglob("*") if path.is_dir() and path.name.startswith(("tiny", ".tiny"))
    ]


def test_ctrl_c_while_a_file_is_converted_leaves_nothing(file, monkeypatch, capsys, tmp_path):
    def interrupted(file, out, metadata):
        assert (out / "model.safetensors").is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr("moi_engines.gguf_model._save_tokenizer", interrupted)
    assert main(["generate", "--model", str(file), "--prompt", "1"]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert not [path for path in (tmp_path / "cache" / "mixture-of-inputs" / "gguf").iterdir() if path.is_dir()]


def test_missing_packages_are_named_with_the_extra(file, monkeypatch):
    monkeypatch.setattr("moi_engines.gguf_model.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"GGUF files need gguf, accelerate; pip install 'mixture-of-inputs\[gguf\]'"):
        resolve_model(file)
