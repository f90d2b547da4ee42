"""A server that speaks as SGLang or vLLM do, with a plugin or without, and that fails when a test says so."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = (
    int | str | None
)  # an HTTP status, "cut" (the connection breaks), "abort" (the text does), "short" (a stream does), or none


class FakeServer:
    """Answers follow from prompt, seed and settings alone, so that a disturbed run can be compared with another.

    plugin    whether settings are obeyed and telemetry is told; callable: asked for each request
    fault     called with the number of the request, 0 first
    seconds   how long an answer takes
    pace      seconds behind each part of a stream
    port      0: a free one
    """

    def __init__(
        self,
        kind: str = "sglang",
        *,
        plugin: bool | Callable[[int], bool] = True,
        checks: bool = True,
        fault: Callable[[int], Fault] = lambda number: None,
        seconds: float = 0.0,
        pace: float = 0.0,
        model: str = "fake",
        drops_on_generate: bool = False,
        port: int = 0,
    ) -> None:
        self.kind, self.plugin, self.checks, self.fault = kind, plugin, checks, fault
        self.seconds, self.pace, self.model, self.drops = seconds, pace, model, drops_on_generate
        self.bodies = list[dict[str, Any]]()
        self.running = self.most_running = 0
        self._lock = threading.Lock()
        self._http = _Listener(("127.0.0.1", port), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Nobody listens afterwards."""
        self._http.shutdown()
        self._http.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[Fault, dict[str, Any]]:
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            time.sleep(self.seconds)
            found = self.fault(number)
            if found not in (None, "abort", "short"):
                return found, {"error": {"message": f"fault {found}"}}
            fault, answer = self._decode(path, body, number, aborted=found == "abort")
            return fault or (found if found == "short" else None), answer
        finally:
            with self._lock:
                self.running -= 1

    def _decode(self, path: str, body: dict[str, Any], number: int, aborted: bool) -> tuple[Fault, dict[str, Any]]:
        params = body.get("sampling_params", body)
        settings = self._settings(params)
        if path == "/generate" and self.drops:
            settings = {}
        if not (self.plugin if isinstance(self.plugin, bool) else self.plugin(number)):
            settings = {}
        if settings.get("beta") == -1 and self.checks:
            return 400, {"error": {"message": "beta=-1 is not allowed; beta must be a number >= 0"}}
        seed = params.get("seed", params.get("sampling_seed"))
        said = body.get("text") or body.get("prompt") or body["messages"][0]["content"]
        digest = hashlib.sha256(json.dumps([said, seed, settings], sort_keys=True).encode()).digest()
        noise = random.Random(digest)
        most = params.get("max_tokens", params.get("max_new_tokens"))
        tokens = most if params.get("ignore_eos") else noise.randint(2, most)
        mixes = settings.get("policy", "token") != "token"
        told = {"mean_entropy": noise.random(), "mean_intervention": 0.25, "mixed_tokens": (tokens - 1) * mixes}
        told["replayed_tokens"] = 0
        finish = "abort" if aborted else "length" if tokens == most else "stop"
        text = f"<answer>{noise.randint(1, 9)}</answer>"
        if settings.pop("per_token", False):
            told |= {"entropy": [noise.random() for _ in range(tokens)], "intervention": [0.25 * mixes] * tokens}
        shaped = self._shaped(path, text, tokens, finish, told if mixes or "entropy" in told else None)
        if "logprobs" in body:  # each character a token, the last one the rest
            names = [*text[: tokens - 1], text[tokens - 1 :]]
            told_names = [{"token": name} for name in names]
            shaped["choices"][0] |= {"logprobs": {"tokens": names, "content": told_names}}
        return None, shaped

    def _settings(self, params: dict[str, Any]) -> dict[str, Any]:
        if self.kind == "sglang":
            return dict((params.get("custom_params") or {}).get("moi", {}))
        return {key.removeprefix("moi_"): value for key, value in (params.get("vllm_xargs") or {}).items()}

    def _shaped(self, path: str, text: str, tokens: int, finish: str, told: Any) -> dict[str, Any]:
        if path == "/generate":
            meta = {"completion_tokens": tokens, "finish_reason": {"type": finish}}
            return {"text": text, "meta_info": meta | ({"moi": told} if told else {})}
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
        choice |= {"message": {"content": text}} if path == "/v1/chat/completions" else {"text": text}
        whole: dict[str, Any] = {"choices": [choice], "usage": {"completion_tokens": tokens}}
        if told and self.kind == "sglang" and "message" in choice:
            choice["meta_info"] = {"moi": told}
        if told and self.kind == "vllm":
            whole["kv_transfer_params"] = {"moi": [told]}
        return whole


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are no news."""


def _chunks(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Of SGLang's /generate, two tokens in each, all that came so far in each."""
    meta, text = answer["meta_info"], answer["text"]
    tokens, told = meta["completion_tokens"], meta.get("moi")
    chunks = []
    for count in [*range(2, tokens, 2), tokens]:
        so_far = {key: value[:count] if isinstance(value, list) else value for key, value in (told or {}).items()}
        finish = meta["finish_reason"] if count == tokens else None
        own = {"completion_tokens": count, "finish_reason": finish} | ({"moi": so_far} if told else {})
        shown = text if count == tokens else text[:count]
        chunks.append({"text": shown, "output_ids": list(range(count)), "meta_info": own})
    return chunks


def _chat_chunks(answer: dict[str, Any], body: dict[str, Any]) -> list[dict[str, Any]]:
    """The role, a token in each, and the usage where it is asked for."""
    tokens = answer["usage"]["completion_tokens"]
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}, *[{"content": "x"}] * tokens]
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    wanted = (body.get("stream_options") or {}).get("include_usage")
    return [*chunks, *([{"choices": [], "usage": answer["usage"]}] if wanted else [])]


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, {"data": [{"id": server.model, "owned_by": server.kind}]}, "text/plain")  # as a router does

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault, answer = server.answer(self.path, body)
            if fault == "cut":
                self.close_connection = True
                return
            if body.get("stream") and fault in (None, "short"):
                chunks = _chat_chunks(answer, body) if "choices" in answer else _chunks(answer)
                self._send_lines(chunks, missing=bool(fault))
            else:
                self._send(fault if isinstance(fault, int) else 200, answer)

        def _send_lines(self, chunks: list[dict[str, Any]], missing: bool) -> None:
            """An event stream; `missing`: the connection breaks in the middle of it."""
            lines = [f"data: {line}\n\n".encode() for line in [*map(json.dumps, chunks), "[DONE]"]]
            data = b"".join(lines)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.close_connection = missing
            for line in [data[: len(data) // 2]] if missing else lines:
                self.wfile.write(line)
                time.sleep(server.pace)

        def _send(self, status: int, answer: dict[str, Any], content: str = "application/json") -> None:
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", content)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    return Handler


if __name__ == "__main__":  # a process to kill: python fake_server.py PORT SECONDS
    FakeServer(port=int(sys.argv[1]), seconds=float(sys.argv[2]))
    threading.Event().wait()
