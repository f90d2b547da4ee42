"""Model folders: loaded, or refused with the reason."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, Qwen3Config, T5Config

from moi_engines.checkpoint import input_embedding, load_checkpoint, refuse_architecture
from moi_engines.end_tokens import end_ids

CPU = torch.device("cpu")


def load(folder):
    return load_checkpoint(folder, CPU, torch.float32)


def test_scaled_embeddings_are_recognised(tiny_model):
    assert load(tiny_model("llama")).scale is None
    assert load(tiny_model("gemma3")).scale.item() == pytest.approx(32**0.5)


def test_limits_come_from_the_model(tiny_model):
    limits = load(tiny_model("qwen2")).limits
    assert (limits.vocab, limits.positions, limits.eos) == (258, 512, frozenset({1}))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model folder .*nowhere does not exist"):
        load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"has no config.json; it must be a Hugging Face model folder"):
        load(tmp_path)


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_broken_file_is_an_error_that_names_the_folder(tiny_model, tmp_path, broken):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("qwen3"), folder)
    (folder / broken).write_bytes((folder / broken).read_bytes()[:100])
    with pytest.raises(ValueError, match=r"model folder .*model cannot be read"):
        load(folder)


def test_an_unknown_architecture_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "warp-drive"}))
    with pytest.raises(ValueError, match=r"cannot be read: .*warp-drive"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["gemma3n", "gemma4"])
def test_models_that_read_ids_inside_their_layers_are_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"model type '{name}.*' reads token ids inside its layers"):
        refuse_architecture(AutoConfig.for_model(name))


@pytest.mark.parametrize("field", ["hidden_size_per_layer_input", "engram_layer_ids", "n_hash_layers"])
def test_models_that_read_ids_inside_their_layers_are_refused_by_what_they_set(field):
    config = Qwen3Config(**{field: [3]})
    with pytest.raises(ValueError, match=rf"model type 'qwen3' reads token ids inside its layers \({field}\)"):
        refuse_architecture(config)


def test_encoder_decoders_are_refused():
    with pytest.raises(ValueError, match="model type 't5' is an encoder-decoder"):
        refuse_architecture(T5Config())


def test_an_embedding_that_does_more_than_look_up_is_refused(tiny_model):
    model = load(tiny_model("qwen3")).model
    model.get_input_embeddings().register_forward_hook(lambda module, args, out: out + 1)
    with pytest.raises(ValueError, match="Embedding does more than look rows up"):
        input_embedding(model)


def rewrite(file, **fields):
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_a_text_ends_at_what_any_of_the_three_files_names(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model("qwen2"), tmp_path / "model")
    rewrite(folder / "config.json", eos_token_id=[5, 6])
    rewrite(folder / "generation_config.json", eos_token_id=7)
    word = load(folder).tokenizer.convert_ids_to_tokens(9)
    rewrite(folder / "tokenizer_config.json", eos_token=word)
    assert load(folder).limits.eos == {5, 6, 7, 9}
    (folder / "generation_config.json").unlink()
    assert load(folder).limits.eos == {5, 6, 9}


def test_end_of_turn_tokens_that_sglang_knows_end_a_text_too(tiny_model):
    checkpoint = load(tiny_model("qwen2"))
    checkpoint.tokenizer.add_tokens(["<|eom_id|>"], special_tokens=True)
    eom = checkpoint.tokenizer.convert_tokens_to_ids("<|eom_id|>")
    assert end_ids(tiny_model("qwen2"), checkpoint.model.config, checkpoint.tokenizer) == {1, eom}


@pytest.mark.parametrize("named", [1.5, float("inf"), "</s>", [1, None], True, {"id": 1}])
def test_an_end_that_is_no_id_is_named(tiny_model, named):
    folder = tiny_model("qwen2")
    checkpoint = load_checkpoint(folder, CPU, torch.float32)
    config = SimpleNamespace(eos_token_id=named, get_text_config=lambda: None)
    with pytest.raises(
        ValueError, match=re.escape(f"eos_token_id={named!r} is not allowed; it must be an id or a list")
    ):
        end_ids(folder, config, checkpoint.tokenizer)


def test_an_unreadable_generation_config_names_the_folder(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model("qwen2"), tmp_path / "model")
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(ValueError, match=r"model folder .*model cannot be read"):
        load(folder)
