"""The public functions mix and embed: check what the user handed in, then run the op."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moi import ops  # registers torch.ops.moi, too
from moi.config import LEAST_TEMPERATURE, MoIConfig, check_temperature, parameter_values
from moi.mixture import Mixture
from moi.policies import BOUNDS, Parameter, load_policies, policy_code, policy_named
from moi.policies.declaration import uniform_count
from moi.rows import RowParams, parameter_count

_INTEGERS = (torch.int32, torch.int64)
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
Number = float | Tensor


def mix(
    logits: Tensor,
    token: Tensor,
    config: MoIConfig = MoIConfig(),
    *,
    beta: Number | None = None,
    temperature: Number | None = None,
    policy: str | Tensor | None = None,
    parameters: Mapping[str, Number] | Tensor | None = None,
    uniforms: Tensor | None = None,
    implementation: str = "auto",
) -> Mixture:
    """What the next input is made of, given the logits and the token sampled from them.

    p = softmax(logits[S] / tau) over the K largest logits, H = entropy(p) / ln K
    w = (H p + (beta + 1 - H) onehot(token)) / (beta + 1)      (arXiv 2505.14827, Eq. 5)

    logits       [B,V] float32, float16 or bfloat16, any strides; NaN counts as -inf
    token        [B] int32 or int64, ids in 0..V-1
    config       K, entropy and prior of the batch; policy and parameters of rows that do not override them
    temperature  the sampler's, a number or [B], 0 for greedy; read only where config.prior is "sampling"
    policy       a name, or codes [B] as from `moi.policy_codes`: overrides config.policy
    parameters   of the policies by their names, each a number or [B], read by rows whose policy declares it, and
                 min_entropy and max_entropy, read by all; or all of them at once, float32 [B,P] as in
                 `moi.RowParams`: overrides config.parameters
    beta         short for parameters={"beta": beta}, for rows of any policy
    uniforms     float32 [B,8+K] as of `moi.uniforms`, which policies that draw need: without them their rows are an
                 error, or plain where codes cannot be read
    implementation  "auto", "reference", "numba", "triton" or "flashinfer"

    Returns a Mixture on the logits' device. Raises ValueError for bad shapes, types or values (values of
    tensors are read only on the CPU, where it costs no synchronisation), RuntimeError if the
    implementation cannot run there.
    """
    _check_logits(logits, config.top_k)
    rows, vocab = logits.shape
    _check_rows("token", token, rows, logits.device, _INTEGERS)
    _check_range("token", token, 0, vocab - 1)
    policy = config.policy if policy is None else policy
    codes = _policy_rows(policy, rows, logits.device)
    if isinstance(parameters, Tensor):
        values = _whole_table(parameters, beta, rows, logits.device)
    else:
        values = _parameter_rows(config, policy, codes, parameters or {}, beta)
    temperatures = _temperature_rows(1.0 if temperature is None else temperature, rows, logits.device)
    if config.prior == "sampling":  # too small to divide by: greedy
        temperatures = torch.where(temperatures < LEAST_TEMPERATURE, 0.0, temperatures)
    _check_uniforms(uniforms, policy, codes, config.top_k, logits.device)
    settings = RowParams(codes, values, temperatures, uniforms)
    out = torch.ops.moi.mix(logits, token, *settings, config.top_k, config.entropy, config.prior, implementation)
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


def uniforms(seed: Tensor, position: Tensor, top_k: int = 20, *, implementation: str = "auto") -> Tensor:
    """The random numbers of a step, float32 [B,8+K] in [0,1): the same for a seed and a position everywhere.

    seed      int64 [B], of each request
    position  int32 or int64 [B], where the token that is sampled now will be fed
    top_k     K, as of the mixture

    Raises ValueError for bad shapes or types, RuntimeError if the implementation cannot run there.
    """
    rows, device = len(seed), seed.device
    _check_rows("seed", seed, rows, device, (torch.int64,))
    _check_rows("position", position, rows, device, _INTEGERS)
    return ops.resolve(implementation, device).uniforms(seed, position, uniform_count(top_k))


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


def _check_uniforms(
    uniforms: Tensor | None, policy: str | Tensor, codes: Tensor, top_k: int, device: torch.device
) -> None:
    """ValueError for a wrong shape or type; or for none where a policy draws, as far as that is known here."""
    if uniforms is not None:
        shape = (len(codes), uniform_count(top_k))
        if uniforms.shape != shape or uniforms.device != device or uniforms.dtype != torch.float32:
            raise ValueError(f"uniforms must be float32 {list(shape)} on {device}, got {_describe(uniforms)}")
        return
    if isinstance(policy, str):
        drawing = [policy] if policy_named(policy).draws else []
    elif codes.device.type != "cpu" or torch.compiler.is_compiling():
        return
    else:
        drawing = [load_policies()[code].name for code in codes.unique().tolist() if load_policies()[code].draws]
    if drawing:
        raise ValueError(f"policy={drawing[0]!r} draws random numbers; pass uniforms=moi.uniforms(seed, position, K)")


def _check_range(key: str, values: Tensor, low: int, high: int) -> None:
    if values.device.type != "cpu" or torch.compiler.is_compiling() or values.numel() == 0:
        return
    least, most = torch.aminmax(values)
    if least < low or most > high:
        raise ValueError(f"{key} holds {(least if least < low else most).item()}; allowed: {low}..{high}")


def _temperature_rows(value: Number, rows: int, device: torch.device) -> Tensor:
    """A number or [B] tensor as float32 [B]; every value must be >= 0."""
    if not isinstance(value, Tensor):
        return torch.full((rows,), check_temperature(value), device=device)
    _check_rows("temperature", value, rows, device, _FLOATS)
    _check_values("temperature", value, value >= 0, "a number >= 0")
    return value.float()


def _check_values(key: str, values: Tensor, holds: Tensor, allowed: str) -> None:
    if values.device.type == "cpu" and not torch.compiler.is_compiling() and not bool(holds.all()):
        raise ValueError(f"{key} holds {values[~holds][0].item()}; {key} must be {allowed}")


def _policy_rows(policy: str | Tensor, rows: int, device: torch.device) -> Tensor:
    if isinstance(policy, str):
        return torch.full((rows,), policy_code(policy), dtype=torch.int32, device=device)
    _check_rows("policy", policy, rows, device, _INTEGERS)
    _check_range("policy", policy, 0, len(load_policies()) - 1)
    return policy.int()


def _whole_table(values: Tensor, beta: Number | None, rows: int, device: torch.device) -> Tensor:
    width = parameter_count()
    if beta is not None:
        raise ValueError("beta and a tensor of all parameters do not go together; put it in the tensor's column")
    if values.shape != (rows, width) or values.device != device or values.dtype not in _FLOATS:
        raise ValueError(f"parameters must be float32 [{rows},{width}] on {device}, got {_describe(values)}")
    return values.float()


def _parameter_rows(
    config: MoIConfig, policy: str | Tensor, codes: Tensor, given: Mapping[str, Number], beta: Number | None
) -> Tensor:
    """float32 [B,P]: what is given, else the config's for rows of its policy, else each policy's defaults."""
    _check_names(policy, given)
    given = given if beta is None else {**given, "beta": beta}
    values = torch.zeros(codes.shape[0], parameter_count(), device=codes.device)
    for code, each in enumerate(load_policies()):
        if isinstance(policy, str) and each.name != policy:
            continue
        mine = codes == code
        known = {**(dict(config.parameters) if each.name == config.policy else {}), **given}
        for column, parameter in enumerate(each.parameters):
            value = _checked(parameter, known.get(parameter.name, parameter.default), mine)
            values[:, column] = value if isinstance(policy, str) else torch.where(mine, value, values[:, column])
    known = {**dict(config.parameters), **given}
    for column, bound in enumerate(BOUNDS, values.shape[1] - len(BOUNDS)):
        values[:, column] = _checked(bound, known.get(bound.name, bound.default), codes >= 0)
    return values


def _check_names(policy: str | Tensor, given: Mapping[str, Number]) -> None:
    """ValueError for a parameter that the policy does not declare; rows of several policies take those of any."""
    if isinstance(policy, str):
        known = [*policy_named(policy).names, *(bound.name for bound in BOUNDS)]
        parameter_values(policy, {key: 0 for key in given if key not in known})
        return
    known = [*(name for each in load_policies() for name in each.names), *(bound.name for bound in BOUNDS)]
    for key in given:
        if key not in known:
            raise ValueError(f"parameter {key!r} is unknown; allowed: {', '.join(dict.fromkeys(known))}")


def _checked(parameter: Parameter, value: Number, mine: Tensor) -> Number:
    """The value, in range where the rows `mine` [B] read it."""
    if not isinstance(value, Tensor):
        return parameter.check(value)
    _check_rows(parameter.name, value, mine.shape[0], mine.device, _FLOATS)
    _check_values(parameter.name, value, parameter.holds(value) | ~mine, parameter.allowed)
    return value.float()
