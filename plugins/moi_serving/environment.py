"""Settings of a server that its flags and its environment may name, whatever the host calls its flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from moi import PRESETS
from moi.config import ENTROPIES, PRIORS, parse_assignments
from moi.policies.registry import BUILT_IN
from moi.shown import shown
from moi_serving.settings import THINK_END, Until

_TRUE = ("1", "true", "yes", "on")
_PARAM = "MOI_PARAM_"  # MOI_PARAM_TAU=2


class Flag(NamedTuple):
    """`top_k` here is MOI_TOP_K in the environment."""

    name: str
    parse: Callable[[str], Any]
    help: str


def _until(text: str) -> Until:
    return int(text) if text.isdecimal() else text


FLAGS = (
    Flag("preset", str, f"K, entropy and prior of all requests: {', '.join(PRESETS)}"),
    # Other packages stay unimported on a server that does not mix.
    Flag("policy", str, f"of requests that say nothing: {', '.join(BUILT_IN)}, or one that a package brings"),
    Flag("beta", float, "short for --moi-param beta=B; larger is closer to plain decoding"),
    Flag("top_k", int, "candidates in a mixture, over the preset's"),
    Flag("entropy", str, f"over the preset's: {', '.join(ENTROPIES)}"),
    Flag("prior", str, f"over the preset's: {', '.join(PRIORS)}"),
    Flag("until", _until, f"mix up to this token id, or {THINK_END!r}: up to the end of thinking"),
)


def environment_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """What MOI_* variables set; ValueError for one that cannot be read."""
    texts = {key[len(_PARAM) :].lower(): text for key, text in environ.items() if key.startswith(_PARAM) and text}
    named = {flag.name: _parsed(flag, text) for flag in FLAGS if (text := environ.get(f"MOI_{flag.name.upper()}"))}
    return {**parse_assignments(f"{name}={text}" for name, text in texts.items()), **named}


def switched_on(name: str, environ: Mapping[str, str]) -> bool:
    """Whether a variable says yes."""
    return environ.get(name, "").lower() in _TRUE


def _parsed(flag: Flag, text: str) -> Any:
    try:
        return flag.parse(text)
    except ValueError:
        kind = "a number" if flag.parse is float else "an integer"
        raise ValueError(f"MOI_{flag.name.upper()}={shown(text)} is not allowed; it must be {kind}") from None
