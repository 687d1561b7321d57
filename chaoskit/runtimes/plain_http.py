"""One bounded HTTP request with asyncio alone: health probes, lease renewals, closing an epoch.

Lean on purpose: the guardian and the start of a stack cannot wait for an HTTP library to import.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

_LARGEST_BODY = 1 << 20


async def request(
    method: str,
    url: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 1.0,
) -> tuple[int, bytes]:
    """Return status and body of one request on its own connection.

    Raises OSError when there is no answer in `timeout_s` (TimeoutError is one) or it is not HTTP.
    """
    async with asyncio.timeout(timeout_s):
        return await _exchange(method, url, body, headers or {})


async def _exchange(
    method: str, url: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + body)
        await writer.drain()
        return await _read_answer(reader)
    finally:
        # Not close(): what a stopped peer has not read must not keep us here.
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        fields = dict(_field(line) for line in head[1:] if line)
        length = fields.get("content-length")
        # Neither proxy nor services chunk what we ask for; without a length the end is the end.
        data = await (reader.readexactly(int(length)) if length else reader.read(_LARGEST_BODY))
    except (
        asyncio.IncompleteReadError,
        asyncio.LimitOverrunError,
        ValueError,
        IndexError,
    ) as error:
        raise ConnectionError(f"not an HTTP answer: {error}") from error
    return status, data


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()
