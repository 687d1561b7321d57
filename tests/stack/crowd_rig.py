"""A whole embedded stack as child processes, with shards of a crowd on it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chaoskit.audio.listening import ABSENT
from chaoskit.wire.crowd import (
    CROWD_PLAN_VERSION,
    Command,
    GroupPlan,
    MicPlan,
    ParticipantPlan,
    ShardPlan,
)
from chaoskit.wire.facts import Ear, Fact, Mark, decode_fact

EVENT = "night"
NODES = ("room-a", "room-b")
READY_S = 20.0


class CrowdStack:
    """Room servers, directory and fault proxy in `folder`; `stop` ends every process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._links: dict[str, dict[str, Any]] = {}
        self._proxy = ""
        for sub in ("ready", "logs", "ctl", "crowd"):
            (folder / sub).mkdir()

    def start(
        self,
        groups: Sequence[str],
        *,
        sentinels: Sequence[str] = (),
        candidates: Sequence[str],
        speakers: Sequence[str],
        directory: dict[str, Any] | None = None,
    ) -> None:
        """Start all services, make the links of `groups` and create the event."""
        for node in NODES:
            self.spawn(node, "room_server")
        self.spawn("fault-proxy", "fault_proxy", "--port", "0", "--seed", "7")
        ports = {name: self.wait_ready(name) for name in (*NODES, "fault-proxy")}
        self._proxy = f"http://127.0.0.1:{ports['fault-proxy']}"
        links = []
        for node in NODES:
            for group in (*groups, "directory"):
                links.append(_tcp(f"{group}.signal.{node}", ports[node]))
            links += [_udp(f"{group}.media.{node}", ["127.0.0.1"]) for group in groups]
        links += [_udp(f"{name}.media.loop", ["127.64.0.0/16"]) for name in sentinels]
        self._populate(links)
        config = {
            "nodes": [
                {"name": node, "signal_url": f"ws://{self.address(f'directory.signal.{node}')}"}
                for node in NODES
            ],
            **(directory or {}),
        }
        (self.folder / "directory.json").write_text(json.dumps(config))
        self.spawn("directory", "directory", "--config", "directory.json")
        ports["directory"] = self.wait_ready("directory")
        api = [_tcp(f"{group}.api.directory", ports["directory"]) for group in groups]
        self._populate([*api, _tcp("operator.api.directory", ports["directory"])])
        self.directory(
            "POST",
            "",
            {
                "event": EVENT,
                "account": "host",
                "candidates": list(candidates),
                "speakers": list(speakers),
                "node": NODES[0],
            },
        )

    # --- processes -------------------------------------------------------------------------------

    def spawn(self, name: str, service: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one service with `folder` as its working directory."""
        command = [sys.executable, "-m", f"chaoskit.services.{service}", "--name", name]
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*command, "--ready", f"ready/{name}.json", *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.processes[name]

    def wait_ready(self, name: str) -> int:
        """Wait for the ready file of a service; return its port."""
        path = self.folder / "ready" / f"{name}.json"

        def ready() -> bool:
            assert self.processes[name].poll() is None, self.log(name)
            return path.exists()

        wait_until(ready, READY_S, lambda: f"{name} is not ready:\n{self.log(name)}")
        port: int = json.loads(path.read_text())["port"]
        return port

    def log(self, name: str) -> str:
        """Return the end of a service's log."""
        return (self.folder / "logs" / f"{name}.log").read_text()[-3_000:]

    def stop(self) -> None:
        """End every process that is still there."""
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # --- links and directory ---------------------------------------------------------------------

    def address(self, link: str) -> str:
        """Return ip:port at which a link listens."""
        listen: str = self._links[link]["listen"]
        return listen.removeprefix("udp://")

    def set_link(self, link: str, enabled: bool) -> None:
        """Cut or restore a link."""
        self.proxy("POST", f"/proxies/{link}", {"enabled": enabled})

    def add_toxic(self, link: str, kind: str, **attributes: float) -> None:
        """Put a toxic in the way of what comes down a link."""
        body = {"name": kind, "type": kind, "stream": "downstream", "attributes": attributes}
        self.proxy("POST", f"/proxies/{link}/toxics", body)

    def remove_toxic(self, link: str, name: str) -> None:
        """Take a toxic away."""
        self.proxy("DELETE", f"/proxies/{link}/toxics/{name}")

    def proxy(self, method: str, path: str, body: object = None) -> Any:
        """Ask the proxy's control API."""
        return _http(method, self._proxy + path, body)

    def directory(self, method: str, path: str, body: object = None) -> Any:
        """Ask the directory as an operator."""
        base = f"http://{self.address('operator.api.directory')}/v1/events"
        return _http(method, base + path, body)

    def _populate(self, links: list[dict[str, Any]]) -> None:
        answer = self.proxy("POST", "/populate", links)
        for made in answer["proxies"]:
            self._links[made["name"]] = made

    # --- the crowd -------------------------------------------------------------------------------

    def group(self, name: str, role: str, **rules: Any) -> GroupPlan:
        """Return the plan of a group with all endpoints of its links."""
        return GroupPlan(
            name=name,
            role=role,
            api=f"http://{self.address(f'{name}.api.directory')}",
            api_link=f"{name}.api.directory",
            signal={n: f"ws://{self.address(f'{name}.signal.{n}')}" for n in NODES},
            signal_links={n: f"{name}.signal.{n}" for n in NODES},
            media={n: self.address(f"{name}.media.{n}") for n in NODES},
            media_links={n: f"{name}.media.{n}" for n in NODES},
            **rules,
        )

    def start_shard(
        self,
        shard: str,
        groups: list[GroupPlan],
        participants: list[ParticipantPlan],
        *,
        index: int = 0,
        origin_s: float,
        end_s: float,
        script: Sequence[MicPlan] = (),
        sentinel: bool = False,
    ) -> None:
        """Write the plan of a shard and start it."""
        plan = ShardPlan(
            version=CROWD_PLAN_VERSION,
            shard=shard,
            index=index,
            origin_s=origin_s,
            end_s=end_s,
            seed=7,
            event=EVENT,
            groups=groups,
            participants=participants,
            script=list(script),
            sentinel=self.address(f"sentinel-{shard}.media.loop") if sentinel else "",
            facts=f"facts-{shard}.jsonl",
            control=f"ctl/{shard}.sock",
        )
        (self.folder / "crowd" / f"{shard}.json").write_text(plan.to_json())
        self.spawn(shard, "crowd", "--plan", f"crowd/{shard}.json")

    def facts(self, shard: str) -> list[Fact]:
        """Return the whole lines that a shard has written so far."""
        path = self.folder / f"facts-{shard}.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [decode_fact(line) for line in lines]

    def wait_fact(
        self, shard: str, holds: Callable[[Fact], bool], *, count: int = 1, within_s: float = 15.0
    ) -> list[Fact]:
        """Wait until at least `count` facts of a shard hold; return them."""
        found: list[Fact] = []

        def enough() -> bool:
            found[:] = [fact for fact in self.facts(shard) if holds(fact)]
            return len(found) >= count

        wait_until(enough, within_s, lambda: f"{len(found)} of {count}:\n{self.log(shard)}")
        return found

    def command(self, shard: str, command: Command) -> Any:
        """Send one command to a shard and return its answer."""
        with socket.socket(socket.AF_UNIX) as sock, _opened(self.folder / "ctl") as folder:
            sock.settimeout(5)
            # The path of a test folder is longer than a socket's name may be.
            sock.connect(f"/proc/self/fd/{folder}/{shard}.sock")
            sock.sendall(command.encode())
            with sock.makefile("rb") as answers:
                return json.loads(answers.readline())

    def end_shard(self, shard: str) -> int:
        """Terminate a shard; return its exit code."""
        self.processes[shard].terminate()
        return self.processes[shard].wait(10)


def wait_until(holds: Callable[[], bool], within_s: float, why: Callable[[], str]) -> None:
    """Wait until `holds`; fail with `why` after `within_s`."""
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, why()
        time.sleep(0.15)


def codes_of(facts: Sequence[Fact]) -> dict[int, list[int]]:
    """Return the code by slot of every ear, from slot 0 to the last Mark."""
    end = max(fact.s for fact in facts if isinstance(fact, Mark))
    changes: dict[int, list[tuple[int, int]]] = {}
    for fact in facts:
        if isinstance(fact, Ear):
            changes.setdefault(fact.p, []).append((fact.s, fact.c))
    ears = {}
    for p, steps in changes.items():
        codes = [ABSENT] * end
        for (first, code), (until, _) in zip(steps, [*steps[1:], (end, 0)], strict=True):
            codes[first:until] = [code] * (until - first)
        ears[p] = codes
    return ears


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _tcp(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{port}", "enabled": True}


def _udp(name: str, peers: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "listen": "udp://127.0.0.1:0",
        "upstream": "udp://dynamic",
        "allowed_peers": peers,
        "enabled": True,
    }


def _http(method: str, url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None
