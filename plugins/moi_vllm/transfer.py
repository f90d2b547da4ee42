"""From the sampled rows on the device to the host: kept for a replay, and reported with the step's tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moi_vllm.host import worker as host
from moi_vllm.runtime import Runtime
from moi_vllm.step import Step


def output_made(
    original: Callable[..., None],
    output: Any,
    model_runner_output: Any,
    sampler_output: Any,
    num_sampled_tokens: Any,
    main_stream: Any,
    copy_stream: Any,
    *args: Any,
    **kwargs: Any,
) -> None:
    """AROUND the start of a step's copies: rows go first, under the same event."""
    step: Step | None = host.kept_rows(sampler_output)
    if step is not None:
        step.host = host.copy_rows(step.device, main_stream, copy_stream)
    given = model_runner_output, sampler_output, num_sampled_tokens, main_stream, copy_stream
    original(output, *given, *args, **kwargs)
    if step is not None:
        step.copied_by(host.copied_event(output))
        host.keep_rows(output, step)


def output_read(original: Callable[..., Any], output: Any, *args: Any, **kwargs: Any) -> Any:
    """AROUND what waits for the copies, on the rank that reports."""
    result = original(output, *args, **kwargs)
    step: Step | None = host.kept_rows(output)
    if step is not None:
        host.report(result, step.records())
    return result


def requests_end(original: Callable[..., Any], runner: Any, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
    """AROUND the end of requests, before a step: on every rank, since not all read their outputs."""
    runtime: Runtime | None = host.runtime_of(runner)
    if runtime is not None:
        runtime.drain(keep=1)
    result = original(runner, scheduler_output, *args, **kwargs)
    if runtime is not None:
        runtime.forget(host.finished_ids(scheduler_output))
    return result
