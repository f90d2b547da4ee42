"""What this plugin relies on inside SGLang, as data, and the check that it is still there.

docs/sglang.md says what each of these means to the plugin. Parameters are the names of the callable's
parameters in the tested version; a target that moved, or whose parameters changed, is a problem.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pkgutil
import warnings
from collections.abc import Iterator

TESTED = ("0.5.23",)

# Hook targets: dotted name below "sglang.srt." -> parameters.
TARGETS: dict[str, tuple[str, ...]] = {
    "server_args.ServerArgs.add_cli_args": ("parser",),
    "server_args.ServerArgs.from_cli_args": ("args",),
    "server_args.ServerArgs.check_server_args": ("self",),
    "managers.scheduler.Scheduler.__init__": ("self", "server_args", "port_args"),
    "sampling.sampling_params.SamplingParams.verify": ("self", "vocab_size"),
    "managers.tokenizer_manager.TokenizerManager.update_request_meta_info": (
        *("self", "meta_info", "state", "customized_info", "index", "finish_reason"),
    ),
    "managers.scheduler.Scheduler._create_generation_req": ("self", "recv_req", "args", "kwargs"),
    "managers.scheduler.Scheduler.init_metrics_collector": ("self",),
    "model_executor.model_runner.ModelRunner.load_model": ("self",),
    "model_executor.model_runner.ModelRunner.alloc_memory_pool": (
        *("self", "memory_pool_config", "draft_parallel_layout"),
    ),
    "model_executor.model_runner.ModelRunner.sample": ("self", "logits_output", "forward_batch"),
    "model_executor.forward_context.forward_context": ("ctx", "forward_batch"),
    "model_executor.forward_batch_info.ForwardBatch.init_new": (
        *("batch", "model_runner", "capture_hidden_mode", "return_hidden_states_before_norm"),
        *("extend_position_info", "spec_mrope_positions", "kv_loc_plan", "write_cols"),
    ),
    "model_executor.runner.prefill_cuda_graph_runner.PrefillCudaGraphRunner.can_run_graph": ("self", "forward_batch"),
    "layers.sampler.Sampler._preprocess_logits": ("self", "logits", "sampling_info"),
    "mem_cache.common.release_kv_cache": ("req", "tree_cache", "checkpoint"),
    "mem_cache.common.checkpoint_kv_cache": ("req", "tree_cache"),
    "managers.schedule_batch.Req._compute_max_prefix_len": ("self", "input_len"),
}

# Called, not hooked.
CALLS: dict[str, tuple[str, ...]] = {
    "managers.auxiliary_output.append_auxiliary_output": ("current", "output"),
    "managers.schedule_batch.Req.set_finish_with_abort": ("self", "error_msg", "status_code", "err_type"),
    "managers.schedule_batch.Req.owned_kv_len": ("self",),
    "mem_cache.base_prefix_cache.BasePrefixCache.supports_mamba": ("self",),
    "layers.vocab_parallel_embedding.VocabParallelEmbedding._embed_local_shard": ("self", "input_"),
    "plugins.hook_registry.HookRegistry.register": ("target", "hook", "hook_type", "source"),
    "plugins.hook_registry.HookRegistry.apply_hooks": (),
    "arg_groups.overrides.resolving_view": ("server_args",),
    "arg_groups.overrides.model_config_of": ("server_args",),
    "runtime_context.get_serving": (),
    "parser.reasoning_parser.ReasoningParser": (
        *("model_type", "stream_reasoning", "force_reasoning", "request", "tokenizer"),
        *("tool_call_parser_active", "prefix"),
    ),
}

# Attributes read: dotted name of the class -> fields.
FIELDS: dict[str, tuple[str, ...]] = {
    "model_executor.forward_batch_info.ForwardBatch": (
        *("forward_mode", "input_ids", "req_pool_indices", "seq_lens", "positions", "sampling_info"),
    ),
    "managers.schedule_batch.ScheduleBatch": ("beam_tail",),
    "beam_search.batch_tail.BeamTail": ("num_base_rows",),
    "managers.auxiliary_output.CommittedTokens": ("output_index", "token_ids"),
    "sampling.sampling_batch_info.SamplingBatchInfo": ("temperatures",),
    "sampling.sampling_params.SamplingParams": ("custom_params", "beam_width"),
    "entrypoints.engine.Engine": ("server_args_class",),
    "plugins.hook_registry.HookRegistry": ("_patched",),
}


def check_contract() -> list[str]:
    """Problems of the installed SGLang, one line each; empty when everything this plugin needs is there."""
    try:
        version = importlib.metadata.version("sglang")
    except importlib.metadata.PackageNotFoundError:
        return ["sglang is not installed"]
    problems = [] if version in TESTED else [f"sglang {version} is untested; tested: {', '.join(TESTED)}"]
    try:
        with warnings.catch_warnings():  # of a machine without a GPU, which is not what was asked
            warnings.simplefilter("ignore")
            importlib.import_module("sglang.srt.managers.scheduler")  # the rest comes with it
    except Exception as error:  # whatever a package that lacks its own dependencies raises
        return [*problems, f"sglang {version} cannot be imported: {type(error).__name__}: {error}"]
    return [*problems, *check_targets(TARGETS | CALLS), *_check_fields()]


def check_targets(targets: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """One line for each callable that is missing or has other parameters."""
    for name, expected in targets.items():
        try:
            found = pkgutil.resolve_name(f"sglang.srt.{name}")
        except Exception as error:  # import errors of the module, too
            yield f"sglang.srt.{name} is missing: {error}"
            continue
        parameters = tuple(inspect.signature(found).parameters)
        if parameters != expected:
            yield f"sglang.srt.{name} takes ({', '.join(parameters)}); expected ({', '.join(expected)})"


def _check_fields() -> Iterator[str]:
    for name, fields in FIELDS.items():
        try:
            found = pkgutil.resolve_name(f"sglang.srt.{name}")
        except Exception as error:
            yield f"sglang.srt.{name} is missing: {error}"
            continue
        known = set(dir(found)) | set(getattr(found, "__annotations__", ()))
        yield from (f"sglang.srt.{name} has no {each}" for each in fields if each not in known)
