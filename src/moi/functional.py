"""The public functions mix and embed: check what the user handed in, then run the op."""

from __future__ import annotations

import torch
from torch import Tensor

from moi import ops  # noqa: F401  (registers torch.ops.moi)
from moi.config import LEAST_TEMPERATURE, MoIConfig, check_beta, check_temperature
from moi.mixture import Mixture
from moi.policies import POLICIES, policy_code

_INTEGERS = (torch.int32, torch.int64)


def mix(
    logits: Tensor,
    token: Tensor,
    config: MoIConfig = MoIConfig(),
    *,
    beta: float | Tensor | None = None,
    temperature: float | Tensor | None = None,
    policy: str | Tensor | None = None,
    implementation: str = "auto",
) -> Mixture:
    """What the next input is made of, given the logits and the token sampled from them.

    p = softmax(logits[S] / tau) over the K largest logits, H = entropy(p) / ln K
    w = (H p + (beta + 1 - H) onehot(token)) / (beta + 1)      (arXiv 2505.14827, Eq. 5)

    logits       [B,V] float32, float16 or bfloat16, any strides; NaN counts as -inf
    token        [B] int32 or int64, ids in 0..V-1
    config       K, entropy and prior of the batch; beta and policy of rows that do not override them
    beta         >= 0, a number or [B]: overrides config.beta
    temperature  the sampler's, a number or [B], 0 for greedy; read only where config.prior is "sampling"
    policy       a name, or codes [B] as from `moi.policy_codes`: overrides config.policy
    implementation  "auto", "reference", "numba", "triton" or "flashinfer"

    Returns a Mixture on the logits' device. Raises ValueError for bad shapes, types or values (values of
    tensors are read only on the CPU, where it costs no synchronisation), RuntimeError if the
    implementation cannot run there.
    """
    _check_logits(logits, config.top_k)
    rows, vocab = logits.shape
    _check_rows("token", token, rows, logits.device, _INTEGERS)
    _check_range("token", token, 0, vocab - 1)
    betas = _per_row("beta", config.beta if beta is None else beta, rows, logits.device)
    temperatures = _per_row("temperature", 1.0 if temperature is None else temperature, rows, logits.device)
    if config.prior == "sampling":  # too small to divide by: greedy
        temperatures = torch.where(temperatures < LEAST_TEMPERATURE, 0.0, temperatures)
    policies = _policy_rows(config.policy if policy is None else policy, rows, logits.device)
    out = torch.ops.moi.mix(
        logits, token, betas, temperatures, policies, config.top_k, config.entropy, config.prior, implementation
    )
    return Mixture(*out)


def embed(
    mixture: Mixture,
    table: Tensor,
    *,
    shard: tuple[int, int] | None = None,
    out: Tensor | None = None,
    implementation: str = "auto",
) -> Tensor:
    """x[b] = sum_j weights[b,j] * E[ids[b,j]], accumulated in float32; [B,D] in the table's dtype.

    table  [rows,D]: the embedding matrix, or the rows [start, end) of it on this rank
    shard  (start, end) of a vocabulary shard: other ids contribute zero, so an all-reduce over the
           ranks completes the sum. The table may have padding rows after end - start.
    out    [B,D] of the table's dtype to write into

    Slots of weight zero contribute nothing, even where their row holds inf or NaN. Raises ValueError
    for bad shapes, types or values, RuntimeError if the implementation cannot run there.
    """
    if table.ndim != 2 or not table.is_floating_point():
        raise ValueError(f"table must be a floating-point matrix [rows,D], got {_describe(table)}")
    start, end = (0, table.shape[0]) if shard is None else shard
    if not 0 <= start <= end <= start + table.shape[0]:
        raise ValueError(f"shard={shard} is not allowed; need 0 <= start <= end <= start + {table.shape[0]} table rows")
    if mixture.ids.shape != mixture.weights.shape or mixture.ids.ndim != 2 or mixture.ids.device != table.device:
        raise ValueError(
            f"mixture must hold ids and weights [B,S] on {table.device}, "
            f"got {_describe(mixture.ids)} and {_describe(mixture.weights)}"
        )
    if shard is None:
        _check_range("mixture.ids", mixture.ids, 0, table.shape[0] - 1)
    if out is None:
        result: Tensor = torch.ops.moi.embed(mixture.ids, mixture.weights, table, start, end, implementation)
        return result
    if out.shape != (mixture.ids.shape[0], table.shape[1]) or out.dtype != table.dtype or out.device != table.device:
        raise ValueError(f"out must be {table.dtype} [B,D] on {table.device}, got {_describe(out)}")
    torch.ops.moi.embed_out(mixture.ids, mixture.weights, table, start, end, implementation, out)
    return out


def _describe(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"


def _check_logits(logits: Tensor, top_k: int) -> None:
    if logits.ndim != 2 or not logits.is_floating_point() or logits.dtype == torch.float64:
        raise ValueError(f"logits must be float32, float16 or bfloat16 [B,V], got {_describe(logits)}")
    if top_k > logits.shape[1]:
        raise ValueError(f"top_k={top_k} is not allowed; top_k must be in 1..{logits.shape[1]}, the vocabulary size")


def _check_rows(key: str, rows: Tensor, count: int, device: torch.device, dtypes: tuple[torch.dtype, ...]) -> None:
    if rows.shape != (count,) or rows.device != device or rows.dtype not in dtypes:
        allowed = " or ".join(str(dtype) for dtype in dtypes)
        raise ValueError(f"{key} must be {allowed} [{count}] on {device}, got {_describe(rows)}")


def _check_range(key: str, values: Tensor, low: int, high: int) -> None:
    if values.device.type != "cpu" or torch.compiler.is_compiling() or values.numel() == 0:
        return
    least, most = torch.aminmax(values)
    if least < low or most > high:
        raise ValueError(f"{key} holds {(least if least < low else most).item()}; allowed: {low}..{high}")


def _per_row(key: str, value: float | Tensor, rows: int, device: torch.device) -> Tensor:
    """A number or [B] tensor as float32 [B]; every value must be >= 0."""
    if not isinstance(value, Tensor):
        return torch.full((rows,), check_beta(value) if key == "beta" else check_temperature(value), device=device)
    _check_rows(key, value, rows, device, (torch.float32, torch.float16, torch.bfloat16, torch.float64))
    if device.type == "cpu" and not torch.compiler.is_compiling() and not bool((value >= 0).all()):
        bad = value[~(value >= 0)][0].item()
        raise ValueError(f"{key} holds {bad}; {key} must be a number >= 0")
    return value.float()


def _policy_rows(policy: str | Tensor, rows: int, device: torch.device) -> Tensor:
    if isinstance(policy, str):
        return torch.full((rows,), policy_code(policy), dtype=torch.int32, device=device)
    _check_rows("policy", policy, rows, device, _INTEGERS)
    _check_range("policy", policy, 0, len(POLICIES) - 1)
    return policy.int()
