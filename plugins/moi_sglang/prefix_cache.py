"""The prefix cache never shares what a mixture went into.

The KV of a generated token depends on the mixture fed for it, which its id does not tell. So of a request
that mixes only the prompt is inserted into the cache, and only its prompt is looked up in it. Each of the
three hooks is needed on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moi_serving.replay import mixing
from moi_sglang.runtime import Runtime


class PrefixCache:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def release(self, original: Callable[..., Any], req: Any, tree_cache: Any, *, checkpoint: bool) -> Any:
        """AROUND release_kv_cache: the prompt was inserted when its prefill ended; the rest never is."""
        self._runtime.forget(req.rid)
        if mixing(req) is not None and req.kv.holds_kv and req.owned_kv_len() > len(req.origin_input_ids):
            checkpoint = False
        return original(req, tree_cache, checkpoint=checkpoint)

    def checkpoint(self, original: Callable[..., Any], req: Any, tree_cache: Any) -> Any:
        """AROUND checkpoint_kv_cache: after a retraction a prefill goes past the prompt."""
        prompt = len(req.origin_input_ids)
        if mixing(req) is None or req.extend_end <= prompt:
            return original(req, tree_cache)
        # A recurrent state is that of all tokens so far: it cannot be cached as the prompt's.
        insert = not req.skip_radix_cache_insert and not tree_cache.supports_mamba()
        if insert and req.kv.cache_protected_len < prompt:
            tree_cache.checkpoint(req, up_to=prompt)
        req.prefix_len = req.extend_end
        return None

    def max_prefix(self, result: int, req: Any, input_len: int) -> int | None:
        """AFTER Req._compute_max_prefix_len: a plain request may have cached the same ids since."""
        return None if mixing(req) is None else min(result, len(req.origin_input_ids))
