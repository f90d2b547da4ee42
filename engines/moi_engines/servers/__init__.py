"""Servers that somebody else started, asked over HTTP: SGLang or vLLM, one or several."""

from moi_engines.servers.dialects import DIALECTS, Answer, Question, Telemetry
from moi_engines.servers.pool import Pool, Served

__all__ = ["DIALECTS", "Answer", "Pool", "Question", "Served", "Telemetry"]
