"""Evaluations: finished samples go to a JSONL file one by one, so that long runs can be interrupted and resumed."""
