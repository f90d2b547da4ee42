"""The page behind a socket of this machine, until somebody interrupts."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

# Nothing but this server: what a library of the page asks of other hosts is refused by the browser.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'"
)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens, on a free port where `port` is 0; OSError that names both and the way out."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except (OSError, ValueError) as error:  # ValueError: a text that cannot be a name
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(f"--host {host!r} --port {port} cannot be served: {reason}; --port 0 takes a free port") from None
    return bound


def serve(page: Any, bound: socket.socket, host: str, ready: Callable[[str], None], **looks: Any) -> None:
    """Serve a `gradio.Blocks` and tell `ready` its address; returns when it is interrupted or terminated."""
    import gradio
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    port = bound.getsockname()[1]
    app = gradio.mount_gradio_app(
        app, page, "/", server_name=host, server_port=port, ssr_mode=False, footer_links=[], pwa=False, **looks
    )
    config = uvicorn.Config(_Guarded(app), log_level="critical", timeout_graceful_shutdown=1)
    shown = f"[{host}]" if ":" in host else host

    bound.listen()  # who comes before the server runs waits
    ready(f"http://{shown}:{port}/")
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again once all is closed
        uvicorn.Server(config).run(sockets=[bound])


class _Guarded:
    """An ASGI application whose pages reach this server alone."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [(b"content-security-policy", _POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": [*message.get("headers", []), *headers]}
            await send(message)

        await self._app(scope, receive, guarded)
