"""A TCP cable between a driver and its server that a test can pull in several ways."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Cable:
    """Forwards every connection to `url` until it is cut, reset or frozen."""

    def __init__(self) -> None:
        self.url = ""
        self.frozen = asyncio.Event()
        self._near: list[asyncio.StreamWriter] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator["Cable"]:
        cable, target = cls(), urlsplit(url)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection(target.hostname, target.port)
            cable._near.append(writer)
            cable._writers += [writer, far_writer]
            for one, other in ((reader, far_writer), (far_reader, writer)):
                task = asyncio.create_task(cable._forward(one, other))
                cable._tasks.add(task)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        cable.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        try:
            yield cable
        finally:
            server.close()
            for task in cable._tasks:
                task.cancel()
            await asyncio.gather(*cable._tasks, return_exceptions=True)
            for writer in cable._writers:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if not self.frozen.is_set():
                    writer.write(data)
        writer.close()

    def cut(self) -> None:
        """End the near connections with FIN."""
        for writer in self._near:
            writer.transport.abort()

    def reset(self) -> None:
        """End the near connections with RST."""
        for writer in self._near:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            writer.transport.abort()
