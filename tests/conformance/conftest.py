"""The servers that the black-box suite runs against.

`server` runs a test on both kinds, `embedded_server` is for what only ours can do. The real one is
`toxiproxy-server` from PATH, or whatever CHAOSKIT_TOXIPROXY_URL names.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.toxiproxies import NEEDS_REAL, Server, Upstream, echo, embedded, real


@pytest.fixture(scope="session")
def _embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with embedded(tmp_path_factory.mktemp("embedded"), "--seed", "7") as server:
        yield server


@pytest.fixture(scope="session")
def _real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with real(tmp_path_factory.mktemp("real")) as server:
        yield server


@pytest.fixture(params=["embedded", pytest.param("real", marks=NEEDS_REAL)])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """An empty server, embedded or real."""
    found: Server = request.getfixturevalue(f"_{request.param}")
    yield found
    found.delete_all()


@pytest.fixture
def embedded_server(_embedded: Server) -> Iterator[Server]:
    """An empty embedded server."""
    yield _embedded
    _embedded.delete_all()


@pytest.fixture
def echo_upstream() -> Iterator[str]:
    """The address of a TCP server that sends back what it gets."""
    upstream = Upstream(echo)
    yield upstream.address
    upstream.close()


@pytest.fixture
def own_embedded(tmp_path: Path) -> Callable[..., object]:
    """Start an embedded server of the test's own, with options; a context manager."""
    return lambda *options: embedded(tmp_path, *options)
