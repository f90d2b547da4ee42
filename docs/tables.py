"""Tables of the documentation, from the declarations that the code itself reads. No host is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from moi import PRESETS
from moi.architectures import READS_IDS_ELSEWHERE
from moi.config import ENTROPIES, MAX_TOP_K, PRIORS
from moi.policies import BOUNDS, Parameter
from moi.policies.registry import BUILT_IN
from moi_serving.compatibility import Conflict


def policies() -> str:
    """Every built-in policy with each of its parameters, then the parameters that all have."""
    rows = [(name, each) for name, policy in BUILT_IN.items() for each in policy.parameters or (None,)]
    named = [(f"[`{name}`](#{name})", *_parameter(each)) for name, each in rows]
    head = ("policy", "parameter", "default", "allowed", "meaning")
    return _table(head, [*named, *(("every policy", *_parameter(bound)) for bound in BOUNDS)])


def draws() -> str:
    """Which policies draw random numbers of their own."""
    return _table(("policy", "draws random numbers"), [(f"`{name}`", _yes(p.draws)) for name, p in BUILT_IN.items()])


def shared() -> str:
    """What belongs to a batch, with the defaults."""
    default = PRESETS["official"]
    rows = [
        ("`top_k`", f"{default.top_k}", f"an integer in [1, {MAX_TOP_K}]", "K, the candidates of the prior"),
        ("`entropy`", f"`{default.entropy}`", _choices(ENTROPIES), "over K candidates, / ln K; over all V ids, / ln V"),
        ("`prior`", f"`{default.prior}`", _choices(PRIORS), "softmax of the logits, or of the logits / temperature"),
    ]
    return _table(("setting", "default", "allowed", "meaning"), rows)


def presets() -> str:
    """The presets' settings."""
    rows = [(f"`{name}`", str(each.top_k), f"`{each.entropy}`", f"`{each.prior}`") for name, each in PRESETS.items()]
    return _table(("preset", "top_k", "entropy", "prior"), rows)


def sglang_refusals() -> str:
    """SGLang's flags, then its variables."""
    from moi_sglang.compatibility_table import CONFLICTS, VARIABLES

    variables = [(f"`{row.flag}`", row.reason, "do not set it") for row in VARIABLES]
    return _table(("flag or variable", "why", "way out"), [*(_without(row) for row in CONFLICTS), *variables])


def vllm_refusals() -> str:
    """vLLM's flags."""
    from moi_vllm.compatibility_table import CONFLICTS

    return _table(("flag or variable", "why", "way out"), map(_without, CONFLICTS))


def tensorrt_llm_refusals() -> str:
    """TensorRT-LLM's settings: a row names the setting that is safe."""
    from moi_tensorrt_llm.compatibility import ARGUMENTS, MODEL, PREEMPTION, STEP

    rows = dict[tuple[str, str], None]()
    for each in (*ARGUMENTS, PREEMPTION, *MODEL, *STEP):
        rows.setdefault((each.flag, each.reason))
    named = [(f"`{flag.partition('=')[0]}`", reason, f"set `{flag}`") for flag, reason in rows]
    return _table(("setting", "why", "way out"), named)


def unsuitable_models() -> str:
    """Types of models that read token ids inside their layers."""
    return ", ".join(f"`{name}`" for name in READS_IDS_ELSEWHERE)


TABLES: dict[str, Callable[[], str]] = {
    "policies": policies,
    "draws": draws,
    "shared-settings": shared,
    "presets": presets,
    "sglang-refusals": sglang_refusals,
    "vllm-refusals": vllm_refusals,
    "tensorrt-llm-refusals": tensorrt_llm_refusals,
    "unsuitable-models": unsuitable_models,
}

# Where leaving the flag out is not the way: what a user can do instead.
_WAYS_OUT = {
    "VLLM_USE_V2_MODEL_RUNNER=0": "do not set it",
    "--model": "serve another model",
    "--runner": "`--runner generate`",
    "--is-embedding": "serve a model that generates",
    "--dllm-algorithm": "serve another model",
    "--diffusion-config": "serve another model",
    "--sampling-backend": "`flashinfer`, `pytorch`, `ascend` or `intel_xpu`",
    "--lora-target-modules": "adapters without `embed_tokens`",
}


def _without(row: Conflict) -> tuple[str, str, str]:
    """A flag that conflicts, and what to do about it."""
    if row.flag in _WAYS_OUT:
        return f"`{row.flag}`", row.reason, _WAYS_OUT[row.flag]
    counted = row.flag.endswith("-size") and row.present(2) and not row.present(1)
    return f"`{row.flag}`", row.reason, "leave it at 1" if counted else "leave it out"


def _parameter(each: Parameter | None) -> tuple[str, str, str, str]:
    if each is None:
        return "none", "", "", ""
    return f"`{each.name}`", f"{each.default:g}", each.allowed, each.help


def _choices(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [[*head]]
    lines += [["---"] * len(lines[0]), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
