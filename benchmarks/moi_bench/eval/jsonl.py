"""Names of version 0.1; see `moi_eval.jsonl`."""

from moi_eval.jsonl import digest, field, optional, records

__all__ = ["digest", "field", "optional", "records"]
