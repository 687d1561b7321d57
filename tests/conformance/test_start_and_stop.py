"""The embedded server as a process: its ready file, its refusals to start, its end."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.toxiproxies import (
    PATIENCE_S,
    Server,
    can_connect,
    embedded,
    quiet_session,
    wait_until,
)

pytestmark = pytest.mark.conformance

COMMAND = [sys.executable, "-m", "chaoskit.services.fault_proxy"]


def run(*options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_the_ready_file_says_who_serves_and_where(tmp_path: Path) -> None:
    with embedded(tmp_path, "--name", "fp") as server:
        ready = json.loads((tmp_path / "ready.json").read_text())
        assert (ready["name"], ready["version"]) == ("fp", "2.12.0")
        assert server.url == f"http://{ready['host']}:{ready['port']}"
        assert Path(f"/proc/{ready['pid']}").exists()
        assert [entry.name for entry in tmp_path.glob("ready.json*")] == ["ready.json"]
    assert not can_connect((ready["host"], ready["port"]))


def test_links_end_with_the_server_even_under_load(tmp_path: Path, echo_upstream: str) -> None:
    with embedded(tmp_path) as server:
        proxy = server.create("one", echo_upstream)
        server.add_toxic("one", "latency", attributes={"latency": 60_000})
        host, port = proxy["listen"].split(":")
        client = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        client.sendall(b"held")
        wait_until(lambda: server.counters("one")["up"]["seen"] == 1)
    with client:
        assert client.recv(1) == b""


def test_a_taken_port_ends_the_start_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--port", str(port))
    assert result.returncode == 4
    assert "Address already in use" in result.stderr
    assert f"127.0.0.1:{port}" in result.stderr


def test_an_api_that_others_can_reach_needs_a_token() -> None:
    result = run("--host", "0.0.0.0", "--port", "0", TOXIPROXY_AUTH_TOKEN="")
    assert result.returncode == 4
    assert "needs a token" in result.stderr


def test_with_a_token_every_route_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", "secret")
    with embedded(tmp_path) as server, quiet_session() as session:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            for path in ("/version", "/proxies", "/chaoskit/clock"):
                response = session.get(server.url + path, headers=headers, timeout=PATIENCE_S)
                assert response.status_code == 401
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert response.json() == {"error": "missing or invalid auth token", "status": 401}
        good = {"Authorization": "Bearer secret"}
        assert server.call("GET", "/version", headers=good).status_code == 200
        browser = {**good, "User-Agent": "Mozilla/5.0"}
        assert server.call("GET", "/version", headers=browser).status_code == 403


def test_too_few_descriptors_are_said_aloud_with_the_need(tmp_path: Path) -> None:
    hard = 700
    script = f"ulimit -n {hard} && exec {' '.join(COMMAND)} --port 0 --listeners 200"
    script += f" --ready {tmp_path / 'ready.json'}"
    process = subprocess.Popen(["/bin/sh", "-c", script], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: (tmp_path / "ready.json").exists() or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "200 listeners need 1256" in stderr
    assert "the limit is 700" in stderr


@pytest.mark.parametrize("size", [5 * 1024 * 1024])
def test_a_huge_body_is_refused(embedded_server: Server, size: int) -> None:
    response = embedded_server.call("POST", "/proxies", raw=b" " * size)
    assert response.status_code == 400
    assert "longer than" in response.json()["error"]


def test_deeply_nested_json_is_refused(embedded_server: Server) -> None:
    response = embedded_server.call("POST", "/proxies", raw=b"[" * 200_000)
    assert response.status_code == 400
    assert embedded_server.call("GET", "/version").status_code == 200
