"""A proxy in front of several servers, each connection to the next of them: python relay.py PORT SERVER_PORT ..."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until either side is gone."""
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def relay(port: int, servers: list[int]) -> None:
    """For ever; a connection that no server takes is closed."""
    turns = itertools.cycle(servers)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in servers:
            with contextlib.suppress(OSError):
                other, back = await asyncio.open_connection("127.0.0.1", next(turns))
                await asyncio.gather(copy(reader, back), copy(other, writer))
                return
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
