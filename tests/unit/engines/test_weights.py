"""Model folders whose files are not all there, or not whole; and what "auto" means on a CPU."""

import argparse
import json
import shutil

import pytest
import torch

from moi.cli import main
from moi_engines import load_engine, sglang_server
from moi_engines.commands import serve
from moi_engines.precision import native_bfloat16
from moi_engines.weights import check_weights, weight_files


@pytest.fixture
def folder(tiny_model, tmp_path):
    return shutil.copytree(tiny_model("llama"), tmp_path / "model")


def shards(folder, *present):
    weights = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    for name in present:
        (folder / name).write_bytes(whole)


def test_a_whole_folder_passes(folder):
    check_weights(folder)
    assert weight_files(folder) == ["model.safetensors"]
    shards(folder, "model-1-of-2.safetensors", "model-2-of-2.safetensors")
    check_weights(folder)


@pytest.mark.parametrize("kept", [0, 7, 8, 100, 5000, -1])
def test_a_file_cut_anywhere_is_said(folder, kept, capsys):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model.safetensors is cut short \(\d+.* bytes\); download it again"):
        load_engine("torch", folder)
    assert main(["generate", "--model", str(folder), "--prompt", "1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_missing_shards_are_counted(folder):
    shards(folder, "model-1-of-2.safetensors")
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of 2 weight files, model-2-of-2.safetensors first"):
        load_engine("torch", folder)


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_a_broken_index_is_named(folder, index):
    shards(folder)
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ValueError, match=r"index.json cannot be read: it must be JSON with a weight_map"):
        check_weights(folder)


def test_a_folder_without_weights_or_tokenizer_is_said(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="has no tokenizer"):
        load_engine("torch", folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no weights"):
        load_engine("torch", folder)


def test_a_pointer_of_git_lfs_is_no_file(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(ValueError, match=r"model.safetensors is a git-lfs pointer; say `git lfs pull`"):
        check_weights(folder)


CODE = """
from transformers import {kind}Config, {kind}ForCausalLM
class MineConfig({kind}Config):
    model_type = "mine"
class MineForCausalLM({kind}ForCausalLM):
    config_class = MineConfig
"""


def test_a_models_own_code_runs_only_when_it_is_trusted(folder, tiny_model, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "code.MineConfig", "AutoModelForCausalLM": "code.MineForCausalLM"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mine", "auto_map": own}))
    (folder / "code.py").write_text(CODE.format(kind="Llama"))
    assert main(["generate", "--model", str(folder), "--prompt", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "brings Python code of its own; read it, then allow it with --trust-remote-code" in line
    (got,) = load_engine("torch", folder, trust_remote_code=True).generate(["12"])
    monkeypatch.setattr("moi_engines.checkpoint.group_queries", lambda model: None)  # which a model's own code does not
    assert got == load_engine("torch", tiny_model("llama")).generate(["12"])[0]


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [
        *[({}, False), ({"avx2": True}, False), ({"avx512_f": True, "avx512_bf16": False}, False)],
        *[({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"neon": True, "bf16": True}, True)],
    ],
)
def test_auto_is_float32_on_a_cpu_that_does_not_compute_in_bfloat16(monkeypatch, tmp_path, capabilities, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert native_bfloat16() is native
    assert ("--dtype float32" not in served(tmp_path, "--device", "cpu")) is native
    assert "--dtype float32" not in served(tmp_path, "--device=cuda")
    assert "--dtype float32" not in served(tmp_path, "--device", "cpu", "--dtype", "bfloat16")


def test_a_server_is_asked_for_a_model_by_the_name_it_was_given(tmp_path):
    assert "--served-model-name" not in served(tmp_path)
    assert "--served-model-name org/model" in served(tmp_path, model="org/model")
    assert "--served-model-name org/model" not in served(tmp_path, "--served-model-name", "x", model="org/model")


def served(folder, *flags, model=None):
    """SGLang's command line for `moi serve`."""
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    args = parser.parse_args(["--model", model or str(folder), "--", *flags])
    return " ".join(sglang_server.command(folder, args))
