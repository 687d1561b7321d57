"""Rules for the whole suite: every module has one category, and what a test needs is said aloud.

A test marked `needs("janus")` is skipped, with the reason, where there is no Janus. The last
lines of a run count the skips, and CHAOSKIT_REQUIRE=janus,capture turns these two into failures, so
that CI cannot lose a suite in silence. `full` tests run only when asked for with `-m full`.
"""

import functools
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

CATEGORIES = frozenset({"unit", "contract", "conformance", "cli", "stack", "oracle", "kill"})


def _no_program(name: str, how: str) -> str | None:
    return None if shutil.which(name) else f"no {name} on PATH; {how}"


def _no_docker() -> str | None:
    import docker

    try:
        client = docker.from_env(timeout=5)
    except docker.errors.DockerException as error:
        return f"no Docker engine: {error}"
    try:
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        return f"no Docker engine: {error}"
    finally:
        client.close()
    return None


def _no_livekit() -> str | None:
    found = importlib.util.find_spec("livekit")
    return None if found else "the livekit SDK is not installed"


def _no_capture() -> str | None:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except OSError as error:
        return f"no right to capture packets: {error.strerror}; run as root"
    return _no_program("tcpdump", "apt-get install tcpdump")


def _no_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = any(shutil.which(name) for name in names)
    return None if found else "no Chromium on PATH; apt-get install chromium"


def _no_index() -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-cache-dir",
        ]
        command += ["--retries", "0", "--timeout", "5", "--dest", folder, "iniconfig"]
        reached = subprocess.run(command, capture_output=True, check=False).returncode == 0
    return None if reached else "no Python package index in reach"


_PROBES: dict[str, Callable[[], str | None]] = {
    "capture": _no_capture,
    "chromium": _no_chromium,
    "docker": _no_docker,
    "index": _no_index,
    "janus": lambda: _no_program("janus", "apt-get install janus"),
    "livekit": _no_livekit,
    "toxiproxy": lambda: _no_program("toxiproxy-server", "install Toxiproxy 2.12"),
}


@functools.cache
def _why_missing(name: str) -> str | None:
    return _PROBES[name]()


class CategorisedModule(pytest.Module):
    """A test module that is refused unless its `pytestmark` has exactly one category."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Collect as usual once the module says what kind it is."""
        children = list(super().collect())
        found = CATEGORIES.intersection(mark.name for mark in self.iter_markers())
        if len(found) != 1:
            has = " and ".join(sorted(found)) or "none"
            raise self.CollectError(
                f"{self.path.name} needs exactly one category, has {has}:"
                f" pytestmark = pytest.mark.<{' | '.join(sorted(CATEGORIES))}>"
            )
        return children


def pytest_configure(config: pytest.Config) -> None:
    unknown = _required() - _PROBES.keys()
    if unknown:
        raise pytest.UsageError(
            f"CHAOSKIT_REQUIRE names {', '.join(sorted(unknown))}; known: {', '.join(_PROBES)}"
        )


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> CategorisedModule | None:
    return CategorisedModule.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "full" in config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("full")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if name not in _PROBES:
                pytest.fail(f"needs({name!r}) is unknown; known: {', '.join(_PROBES)}", False)
            missing = _why_missing(name)
            if missing and name in _required():
                pytest.fail(f"CHAOSKIT_REQUIRE demands {name}: {missing}", pytrace=False)
            if missing:
                pytest.skip(f"needs {name}: {missing}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    stats = terminalreporter.stats
    reasons = Counter(_skip_reason(report) for report in stats.get("skipped", []))
    terminalreporter.write_line(f"{reasons.total()} skipped")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"  {count} x {reason}")
    counts_file = os.environ.get("CHAOSKIT_TEST_COUNTS")
    if counts_file:
        counts = {
            "passed": len(stats.get("passed", [])) + len(stats.get("xfailed", [])),
            "failed": len(stats.get("failed", [])) + len(stats.get("error", [])),
            "skipped": reasons.total(),
        }
        Path(counts_file).write_text(json.dumps(counts))


def _skip_reason(report: pytest.TestReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


def _required() -> set[str]:
    return {name for name in os.environ.get("CHAOSKIT_REQUIRE", "").split(",") if name}
