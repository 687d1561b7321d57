"""The runs that the oracle judges. Each is made once and shared, so that the folder stays short."""

import os
import random
import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.oracle import observed
from tests.oracle.live_run import DATA, chaoskit
from tests.oracle.observed import FIRST_LISTENER, Observed

SEED_VARIABLE = "CHAOSKIT_ORACLE_SEED"
CAPTURED = 8
STOP_S = 10.0
"""How long the engine is stopped: less than any lease and than the fault's own time to live."""


def pytest_report_header() -> str:
    return f"oracle: {SEED_VARIABLE}={_SEED} chooses listeners and instants"


_SEED = int(os.environ.get(SEED_VARIABLE) or secrets.randbelow(1 << 30))


@pytest.fixture(scope="session")
def rng() -> random.Random:
    """Chooses listeners and instants; its seed is in the report's header."""
    return random.Random(_SEED)


@pytest.fixture(scope="session")
def captured(rng: random.Random) -> list[int]:
    """Listeners of host-drop.yaml whose datagrams are kept, the same in every run."""
    listeners = range(FIRST_LISTENER, FIRST_LISTENER + observed.listeners_in("host-drop.yaml"))
    return sorted(rng.sample(listeners, CAPTURED))


@pytest.fixture(scope="session")
def host_drop(tmp_path_factory: pytest.TempPathFactory, captured: list[int]) -> Observed:
    """The host is cut off, everybody moves to a fresh room; looked at in the steady state."""
    folder = tmp_path_factory.mktemp("drop")
    return observed.observe(
        _run("host-drop.yaml"), folder, captured, during=observed.look_at_sockets
    )


@pytest.fixture(scope="session")
def engine_stopped(tmp_path_factory: pytest.TempPathFactory, captured: list[int]) -> Observed:
    """The same run, its engine stopped for STOP_S as soon as the host is cut off."""
    folder = tmp_path_factory.mktemp("stop")
    return observed.observe(
        _run("host-drop.yaml"), folder, captured, during=observed.stop_the_engine(STOP_S)
    )


@pytest.fixture(scope="session")
def struck(tmp_path_factory: pytest.TempPathFactory, rng: random.Random) -> Observed:
    """A blackhole of 1 s, a room node stopped for 2 s, then a listener shard killed."""
    folder = tmp_path_factory.mktemp("struck")
    listeners = range(FIRST_LISTENER, FIRST_LISTENER + observed.listeners_in("blackhole.yaml"))
    chosen = sorted(rng.sample(listeners, CAPTURED))
    return observed.observe(_run("blackhole.yaml"), folder, chosen, during=observed.strike)


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory, rng: random.Random) -> Observed:
    """The whole launch night, with its hot microphone, its silences and its fresh room."""
    folder = tmp_path_factory.mktemp("night")
    chosen = sorted(rng.sample(range(FIRST_LISTENER, FIRST_LISTENER + 200), CAPTURED))
    return observed.observe(["replay", "launch-night"], folder, chosen, during=observed.look_on)


@pytest.fixture(scope="session")
def faked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Observed]]:
    """Two runs at once, each with one service that only pretends: `room` and `proxy`."""
    plans = {
        "room": ("host-drop.yaml", {"room-b": "silent_room.py"}),
        "proxy": ("blackhole.yaml", {"fault-proxy": "idle_proxy.py"}),
    }
    with ExitStack() as stack:
        runs = {
            name: stack.enter_context(
                chaoskit(
                    "run", str(DATA / file), "--quiet", folder=tmp_path_factory.mktemp(name),
                    fakes=fakes,
                )
            )
            for name, (file, fakes) in plans.items()
        }  # fmt: skip
        yield {name: Observed(run.finish(), run.recorded()) for name, run in runs.items()}


def _run(file: str) -> list[str]:
    return ["run", str(DATA / file)]
