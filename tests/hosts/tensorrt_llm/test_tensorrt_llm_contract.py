"""What the TensorRT-LLM integration relies on and refuses, without TensorRT-LLM: recorded declarations stand in.

That TensorRT-LLM itself matches them is for `moi doctor` and `moi selftest` on a machine that has it.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import tensorrt_llm_recorded

pytest.importorskip("moi_tensorrt_llm")
from moi_tensorrt_llm import check_contract, contract, refuse_arguments, registration
from moi_tensorrt_llm.worker import worker_state
from moi_tensorrt_llm.wrapper_checks import wrapper_problems

# --- contract -------------------------------------------------------------------------------------------------


def test_the_recorded_signatures_satisfy_the_contract(host: dict[str, ModuleType]) -> None:
    assert check_contract() == []


def _renamed_parameter(host: dict[str, ModuleType]) -> None:
    class LogitsProcessor:
        def __call__(self, request, logits, token_ids, stream_ptr, client_id):
            raise NotImplementedError

    host["tensorrt_llm.sampling_params"].LogitsProcessor = LogitsProcessor


def _no_embeds(host: dict[str, ModuleType]) -> None:
    class DecoderModelForCausalLM:
        def forward(self, attn_metadata, input_ids=None, position_ids=None, return_context_logits=False):
            raise NotImplementedError

    host["tensorrt_llm._torch.models.modeling_utils"].DecoderModelForCausalLM = DecoderModelForCausalLM


def _no_request_ids(host: dict[str, ModuleType]) -> None:
    recorded = tensorrt_llm_recorded.AttentionMetadata
    annotations = {name: kind for name, kind in recorded.__annotations__.items() if name != "request_ids"}
    lost = ("request_ids", "num_seqs", "__dict__", "__weakref__")
    kept = {name: value for name, value in vars(recorded).items() if name not in lost}
    metadata = type("AttentionMetadata", (), {**kept, "__annotations__": annotations})
    host["tensorrt_llm._torch.attention_backend.interface"].AttentionMetadata = metadata


def _no_metadata(host: dict[str, ModuleType]) -> None:
    host["tensorrt_llm._torch.attention_backend.trtllm"].TrtllmAttention = type("TrtllmAttention", (), {})


def _no_registry(host: dict[str, ModuleType]) -> None:
    del host["tensorrt_llm._torch.models.modeling_utils"].register_auto_model


def _no_module(host: dict[str, ModuleType]) -> None:
    del sys.modules["tensorrt_llm._torch.models.modeling_qwen3"]


@pytest.mark.parametrize(
    ("drift", "message"),
    [
        (_renamed_parameter, r"LogitsProcessor.__call__ no longer takes req_id: it takes \(request, logits"),
        (_no_embeds, "DecoderModelForCausalLM.forward no longer takes inputs_embeds: it takes"),
        (_no_request_ids, "AttentionMetadata has no request_ids, num_seqs"),
        (_no_metadata, "TrtllmAttention has no Metadata"),
        (_no_registry, r"register_auto_model is missing: .*\(replaces a model class by name\)"),
        (_no_module, "modeling_qwen3:Qwen3ForCausalLM.__init__ is missing"),
    ],
)
def test_drift_is_found_and_refused(host: dict[str, ModuleType], drift: Any, message: str) -> None:
    drift(host)
    problems = check_contract()
    assert len(problems) == 1
    with pytest.raises(RuntimeError, match=message):
        registration.register_models()


def test_a_name_that_moved_is_found_in_its_new_place(
    host: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = "tensorrt_llm._torch.attention_backend"
    for package in ("attention", "attention.backends"):
        monkeypatch.setitem(sys.modules, f"tensorrt_llm._torch.{package}", ModuleType(package))
    for name in ("interface", "trtllm", "flashinfer", "vanilla"):
        monkeypatch.setitem(
            sys.modules, f"tensorrt_llm._torch.attention.backends.{name}", sys.modules.pop(f"{old}.{name}")
        )
    assert check_contract() == []
    registration.register_models()
    for name in ("TrtllmAttention", "FlashInferAttention", "VanillaAttention"):
        assert getattr(tensorrt_llm_recorded, name).Metadata.moi_state is worker_state()


@pytest.mark.parametrize("version", ["1.1.0", "1.4.0", "0.21.0", "2.0.0"])
def test_other_versions_are_refused(host: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(contract, "version", lambda name: version)
    assert check_contract() == [
        f"tensorrt_llm {version} is outside >=1.2,<1.4, the versions the contract was recorded from"
    ]


def test_a_host_that_cannot_be_imported_is_a_problem_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(contract, "version", lambda name: "1.2.1")
    monkeypatch.setattr(contract.importlib, "import_module", broken)
    assert check_contract() == [
        "tensorrt_llm 1.2.1 cannot be imported: OSError: libcuda.so.1: cannot open shared object file"
    ]


def test_without_the_host_the_check_says_so() -> None:
    assert check_contract() == ["tensorrt_llm is not installed; it comes from NVIDIA's own package index"]


# --- the wrappers on the host's classes -----------------------------------------------------------------------


def test_the_wrappers_hold_on_the_recorded_classes(host: dict[str, ModuleType]) -> None:
    assert wrapper_problems() == []


def _other_registry(host: dict[str, ModuleType], patch: pytest.MonkeyPatch) -> None:
    mapping = {"LlamaForCausalLM": int, **tensorrt_llm_recorded.MODEL_CLASS_MAPPING}
    patch.setattr(host["tensorrt_llm._torch.models.modeling_utils"], "MODEL_CLASS_MAPPING", mapping)


def _copied_list(host: dict[str, ModuleType], patch: pytest.MonkeyPatch) -> None:
    class SamplingParams(tensorrt_llm_recorded.SamplingParams):
        def __init__(self, logits_processor=None):
            self.logits_processor = list(logits_processor)

    patch.setattr(sys.modules[__name__], "SamplingParams", SamplingParams, raising=False)
    SamplingParams.__qualname__ = "SamplingParams"
    host["tensorrt_llm"].SamplingParams = SamplingParams


def _untracked(host: dict[str, ModuleType], patch: pytest.MonkeyPatch) -> None:
    patch.setattr("moi_tensorrt_llm.registration.track", lambda backend, state: None)


def _other_forward(host: dict[str, ModuleType], patch: pytest.MonkeyPatch) -> None:
    def forward(
        self, attn_metadata, position_ids=None, input_ids=None, inputs_embeds=None, return_context_logits=False
    ):
        raise NotImplementedError

    patch.setattr(tensorrt_llm_recorded.Qwen3ForCausalLM, "forward", forward)


@pytest.mark.parametrize(
    ("drift", "message"),
    [
        (_other_registry, "LlamaForCausalLM is registered as <class 'int'>, not as ours"),
        (_copied_list, "SamplingParams does not keep the list"),
        (_untracked, "attn_backend=TRTLLM makes .*AttentionMetadata, which is not tracked"),
        (_other_forward, r"Qwen3ForCausalLM.forward takes \(attn_metadata, position_ids, input_ids"),
    ],
)
def test_a_wrapper_that_does_not_hold_is_told(
    host: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, drift: Any, message: str
) -> None:
    monkeypatch.setattr(tensorrt_llm_recorded, "MODEL_CLASS_MAPPING", {})
    drift(host, monkeypatch)
    assert any(re.search(message, problem) for problem in wrapper_problems()), wrapper_problems()


# --- refusals -------------------------------------------------------------------------------------------------

SAFE = {
    "cuda_graph_config": {"enable_padding": True},
    "scheduler_config": {"capacity_scheduler_policy": "GUARANTEED_NO_EVICT"},
    "prefill_cuda_graph_backend": None,
    "torch_compile_config": None,
    "kv_cache_config": {"enable_block_reuse": False},
    "speculative_config": None,
    "max_beam_width": 1,
    "pipeline_parallel_size": 1,
}


def test_safe_settings_pass_as_mapping_and_as_object() -> None:
    refuse_arguments(SAFE)
    refuse_arguments(SimpleNamespace(**{**SAFE, "kv_cache_config": SimpleNamespace(enable_block_reuse=False)}))


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"prefill_cuda_graph_backend": "piecewise"}, "prefill_cuda_graph_backend=None"),
        ({"scheduler_config": {"capacity_scheduler_policy": "MAX_UTILIZATION"}}, "GUARANTEED_NO_EVICT, or MOI_TENS"),
        ({"kv_cache_config": {}}, "enable_block_reuse=False"),
        ({"torch_compile_config": {}}, "torch_compile_config=None"),
        ({"kv_cache_config": {"enable_block_reuse": True}}, "enable_block_reuse=False"),
        ({"speculative_config": object()}, "speculative_config=None"),
        ({"max_beam_width": 4}, "max_beam_width=1"),
        ({"pipeline_parallel_size": 2}, "pipeline_parallel_size=1"),
        ({"enable_attention_dp": True}, "enable_attention_dp=False"),
        ({"cache_transceiver_config": object()}, "cache_transceiver_config=None"),
    ],
)
def test_settings_that_would_lose_mixtures_are_refused(change: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        refuse_arguments({**SAFE, **change})


def test_preemption_is_allowed_where_mixtures_are_kept() -> None:
    preempting = {**SAFE, "scheduler_config": {"capacity_scheduler_policy": "MAX_UTILIZATION"}}
    refuse_arguments(preempting, replay_tokens=4096)
