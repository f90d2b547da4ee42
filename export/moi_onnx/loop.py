"""The state loop of a step graph by the names of its tensors: what comes back, and what the host looks at.

Engines here and the sidecar of `moi compile`, from which loops in other languages are written, both read it.
"""

from __future__ import annotations

# Output of a step -> input of the next, on the device; the key/value caches come on top.
FED_BACK = {"next_mix_ids": "mix_ids", "next_mix_weights": "mix_weights"}
# Read by the host after each step, [B] each. `logits` are read too, of rows that are not decided.
HOST_READS = ("token", "decided", "entropy", "intervention")
PREFILL, DECODE = "prefill", "decode"  # the two kinds of step: prompts, and one position a row
