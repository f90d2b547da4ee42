"""Median time of a call: CUDA events over graph replays on a GPU, a wall clock on the CPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

Call = Callable[[], object]


class Timing(NamedTuple):
    """Microseconds per call: median, tenth and ninetieth percentile of the repetitions."""

    median_us: float
    p10_us: float
    p90_us: float


def summarise(samples: Sequence[float]) -> Timing:
    """Median, 10th and 90th percentile."""
    ordered = sorted(samples)
    last = len(ordered) - 1
    return Timing(statistics.median(ordered), ordered[round(0.1 * last)], ordered[round(0.9 * last)])


def measure(calls: Sequence[Call], device: torch.device, repeats: int) -> Timing:
    """Time of one of `calls`, which do the same on different inputs and run in turn, so that caches stay honest."""
    return _measure_graph(calls, repeats) if device.type == "cuda" else _measure_wall(calls, repeats)


def _measure_wall(calls: Sequence[Call], repeats: int) -> Timing:
    for call in calls:
        call()
    samples = []
    for _ in range(repeats):
        start = time.perf_counter()
        for call in calls:
            call()
        samples.append((time.perf_counter() - start) * 1e6 / len(calls))
    return summarise(samples)


def _measure_graph(calls: Sequence[Call], repeats: int) -> Timing:
    graph = capture(calls)
    graph.replay()
    samples = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        samples.append(start.elapsed_time(end) * 1e3 / len(calls))
    return summarise(samples)


def capture(calls: Sequence[Call]) -> torch.cuda.CUDAGraph:
    """All calls, one after the other, as one CUDA graph; warmed up on a side stream first."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            for call in calls:
                call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return graph


def copy_bandwidth(device: torch.device) -> float:
    """Bytes read and written per second by a large device-to-device copy."""
    size = 1 << (30 if device.type == "cuda" else 26)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    timing = measure([lambda: target.copy_(source)], device, 10)
    return 2 * size / timing.median_us * 1e6


def launches(call: Call, device: torch.device) -> int | None:
    """Kernels that one call launches on a GPU; None on the CPU, where nothing is launched."""
    if device.type != "cuda":
        return None
    call()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call()
        torch.cuda.synchronize()
    return len([event for event in profile.events() if event.device_type.name == "CUDA"])
