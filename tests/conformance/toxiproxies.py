"""Toxiproxy servers under test, embedded and real, seen from outside only: an address and HTTP."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

URL_VARIABLE = "CHAOSKIT_TOXIPROXY_URL"
NEEDS_REAL = () if os.environ.get(URL_VARIABLE) else (pytest.mark.needs("toxiproxy"),)
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Server:
    """A server's base URL and one HTTP call after another to it."""

    url: str
    is_real: bool
    session: requests.Session

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        """Send one request; `body` as JSON, or `raw` as it is."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        return self.session.request(
            method,
            self.url + path,
            data=data,
            headers=headers,
            timeout=PATIENCE_S,
            allow_redirects=False,
        )

    def create(self, name: str, upstream: str, **more: object) -> dict[str, Any]:
        """Create a proxy on a free loopback port and return it."""
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, **more}
        response = self.call("POST", "/proxies", body)
        assert response.status_code == 201, response.text
        return dict(response.json())

    def add_toxic(self, proxy: str, kind: str, **more: object) -> dict[str, Any]:
        """Add a toxic and return it."""
        response = self.call("POST", f"/proxies/{proxy}/toxics", {"type": kind, **more})
        assert response.status_code == 200, response.text
        return dict(response.json())

    def counters(self, link: str) -> dict[str, Any]:
        """Return the live numbers of a link (embedded server only)."""
        response = self.call("GET", f"/chaoskit/links/{link}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def delete_all(self) -> None:
        """Remove every proxy."""
        for name in self.call("GET", "/proxies").json():
            self.call("DELETE", f"/proxies/{name}")


def refused(response: requests.Response, status: int, message: str) -> None:
    """Check an error as Toxiproxy sends it: JSON, called plain text."""
    assert response.status_code == status, response.text
    assert response.json() == {"error": message, "status": status}
    assert response.text.endswith("\n")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def bad_body(response: requests.Response) -> None:
    """Check the refusal of a body; the words after the colon belong to the JSON reader."""
    assert response.status_code == 400, response.text
    assert response.json()["error"].startswith("bad request body: ")
    assert response.json()["status"] == 400


@contextlib.contextmanager
def embedded(folder: Path, *options: str) -> Iterator[Server]:
    """Run the embedded server until the block ends; it must then exit with 0."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "chaoskit.services.fault_proxy"]
    command += ["--ready", str(ready), "--port", "0", *options]
    with (folder / "fault-proxy.log").open("wb") as log, quiet_session() as session:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(lambda: ready.exists() or process.poll() is not None)
            if not ready.exists():
                raise RuntimeError((folder / "fault-proxy.log").read_text())
            port = json.loads(ready.read_text())["port"]
            yield Server(f"http://127.0.0.1:{port}", False, session)
        finally:
            process.terminate()
            status = process.wait(PATIENCE_S)
    assert status == 0, (folder / "fault-proxy.log").read_text()


@contextlib.contextmanager
def real(folder: Path) -> Iterator[Server]:
    """Use the server that the environment names, or run `toxiproxy-server` from PATH."""
    with quiet_session() as session:
        url = os.environ.get(URL_VARIABLE)
        if url:
            yield Server(url.rstrip("/"), True, session)
            return
        binary = shutil.which("toxiproxy-server")
        assert binary is not None
        port = free_port()
        with (folder / "toxiproxy.log").open("wb") as log:
            process = subprocess.Popen(
                [binary, "-host", "127.0.0.1", "-port", str(port)], stdout=log, stderr=log
            )
            try:
                wait_until(lambda: can_connect(("127.0.0.1", port)))
                yield Server(f"http://127.0.0.1:{port}", True, session)
            finally:
                process.kill()
                process.wait(PATIENCE_S)


@contextlib.contextmanager
def quiet_session() -> Iterator[requests.Session]:
    """Return a session that ignores the machine's HTTP proxies."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


def wait_until(happened: Callable[[], bool]) -> None:
    """Return once `happened()`; fail when it never does."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.01)


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def can_connect(address: tuple[str, int]) -> bool:
    """Whether something listens on `address`."""
    with socket.socket() as sock:
        sock.settimeout(PATIENCE_S)
        return sock.connect_ex(address) == 0


class Upstream:
    """A TCP server whose every connection runs `serve` in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._threads: list[threading.Thread] = []
        self._open = True
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    @property
    def address(self) -> str:
        """Return `ip:port`."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        """Take no more connections and wait for those that are open to end."""
        self._open = False
        self._acceptor.join(PATIENCE_S)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _accept(self) -> None:
        while self._open:
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(PATIENCE_S)
            thread = threading.Thread(target=self._run, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _run(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._serve(connection)


def echo(connection: socket.socket) -> None:
    """Send back what arrives until it ends."""
    while data := connection.recv(65536):
        connection.sendall(data)


def address_of(proxy: dict[str, Any]) -> tuple[str, int]:
    """Return where a proxy listens."""
    host, _, port = proxy["listen"].removeprefix("udp://").rpartition(":")
    return host, int(port)


def connect(proxy: dict[str, Any], *, source: str = "127.0.0.1") -> socket.socket:
    """Connect to a TCP proxy from a given loopback address."""
    return socket.create_connection(
        address_of(proxy), timeout=PATIENCE_S, source_address=(source, 0)
    )


def receive(sock: socket.socket, count: int) -> bytes:
    """Return `count` bytes, fewer only if the data ends."""
    received = b""
    while len(received) < count and (data := sock.recv(count - len(received))):
        received += data
    return received


def send_until_it_ends(sock: socket.socket) -> None:
    """Send and read until the other end closes; raise what it does instead."""
    with contextlib.suppress(BrokenPipeError):
        while True:
            sock.sendall(b"x")
            sock.settimeout(0.02)
            try:
                if sock.recv(1) == b"":
                    return
            except TimeoutError:
                continue


@contextlib.contextmanager
def silent_address() -> Iterator[str]:
    """Yield an address whose connection attempts are never answered: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        host, port = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((host, port))
        yield f"{host}:{port}"
