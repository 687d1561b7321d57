"""Engines and guardians that tests may kill."""

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chaoskit.guardian.client import GuardianClient, start_guardian
from chaoskit.journal.folder import RunFolder, create_run, find_run
from tests.kill.guardian_rig import ENGINE, Engine, LeaseServer, StartEngine, python


@pytest.fixture
def start_engine(tmp_path: Path) -> Iterator[StartEngine]:
    engines: list[Engine] = []

    def start(children: dict[str, str], *more: str) -> Engine:
        process = subprocess.Popen(
            [*python(ENGINE), str(tmp_path), json.dumps(children), *more],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the engine did not come up: exit {process.wait()}"
        said = json.loads(line)
        engines.append(Engine(process, find_run(tmp_path, said["run"]), said["pids"]))
        return engines[-1]

    yield start
    for engine in engines:
        if engine.process.poll() is None:
            engine.kill_group()
        assert engine.process.stdout is not None
        engine.process.stdout.close()


@pytest.fixture
async def guardian(tmp_path: Path) -> AsyncIterator[GuardianClient]:
    """A guardian whose engine is the test."""
    folder, lock = create_run(tmp_path)
    client = await start_guardian(folder, lock)
    yield client
    await client.close()
    lock.release()


@pytest.fixture
def folder(tmp_path: Path, guardian: GuardianClient) -> RunFolder:
    return find_run(tmp_path, "latest")


@pytest.fixture
def lease_server() -> Iterator[LeaseServer]:
    server = LeaseServer()
    yield server
    server.close()
