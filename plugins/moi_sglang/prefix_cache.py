"""The prefix cache never shares what a mixture went into.

The KV of a generated token depends on the mixture fed for it, but the cache is keyed by token ids. So of a request
that mixes only the prompt is inserted into the cache, and only its prompt is looked up in it. Each of the three hooks
is needed on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moi_serving.replay import mixing
from moi_sglang.host import requests as host
from moi_sglang.runtime import Runtime


def release(runtime: Runtime, original: Callable[..., Any], req: Any, *args: Any, checkpoint: bool, **kw: Any) -> Any:
    """AROUND the release of KV: the prompt was inserted when its prefill ended; the rest never is."""
    runtime.forget(host.request_id(req))
    if mixing(req) is not None and host.owns_past_prompt(req):
        checkpoint = False
    return original(req, *args, checkpoint=checkpoint, **kw)


def checkpoint(original: Callable[..., Any], req: Any, tree_cache: Any, *args: Any, **kwargs: Any) -> Any:
    """AROUND the insertion when a prefill ends: after a retraction it went past the prompt."""
    if mixing(req) is None or not host.ends_past_prompt(req):
        return original(req, tree_cache, *args, **kwargs)
    host.end_prefill(req, tree_cache)
    return None


def max_prefix(result: int, req: Any, *args: Any, **kwargs: Any) -> int | None:
    """AFTER the limit of a look-up: a plain request may have cached the ids of generated tokens since."""
    return None if mixing(req) is None else min(result, len(host.prompt_ids(req)))
