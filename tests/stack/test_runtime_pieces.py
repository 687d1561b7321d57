"""The small parts of the local runtime against real sockets, files and the real clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chaoskit.ports import Clock
from chaoskit.runtimes.clock import MonotonicClock
from chaoskit.runtimes.logs import last_lines
from chaoskit.runtimes.plain_http import request

pytestmark = pytest.mark.stack


@asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer every request with these bytes, or never; yields its URL and what it was sent."""
    seen: list[bytes] = []
    left = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is not None:
            writer.write(answer)
            writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", seen
        await asyncio.wait_for(left.wait(), 5.0)


async def test_a_request_gets_status_and_body() -> None:
    answer = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello and more"

    async with server(answer) as (url, seen):
        assert await request("PUT", f"{url}/a?b=1", headers={"X-Run": "7f3c"}) == (201, b"hello")

    assert seen[0].startswith(b"PUT /a?b=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"X-Run: 7f3c\r\n" in seen[0]


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    async with server(b"HTTP/1.0 200 OK\r\n\r\nall of it") as (url, _):
        assert await request("GET", url) == (200, b"all of it")


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"],
)
async def test_what_is_no_http_answer_is_an_error(answer: bytes) -> None:
    async with server(answer) as (url, _):
        with pytest.raises(ConnectionError, match=r"not an HTTP answer"):
            await request("GET", url)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with server(None) as (url, _):
        with pytest.raises(TimeoutError):
            await request("GET", url, timeout_s=0.05)


async def test_the_clock_counts_from_the_origin_and_never_wakes_early() -> None:
    clock: Clock = MonotonicClock(origin_s=0.0)
    at_s = clock.now() + 0.01

    await clock.sleep_until(at_s)
    assert clock.now() >= at_s
    await clock.sleep_until(at_s - 1.0)
    assert MonotonicClock(origin_s=100.0).to_run(101.5) == 1.5


def test_the_last_lines_of_a_log_are_shown_or_why_there_are_none(tmp_path: Path) -> None:
    log = tmp_path / "room-a.log"
    assert last_lines(log) == "  (no log: No such file or directory)"
    log.touch()
    assert last_lines(log) == "  (nothing in room-a.log)"
    log.write_bytes(b"x" * 9000 + b"\none\n\ntwo \xff\n")
    assert last_lines(log, 2) == "  one\n  two �"
