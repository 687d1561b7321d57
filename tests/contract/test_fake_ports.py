"""The fakes of the unit tests, held to the same contract as what they stand for."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.drivers.toxiproxy import ToxiproxyDriver
from chaoskit.errors import AdapterError
from chaoskit.guardian.client import start_guardian
from chaoskit.journal.folder import create_run
from chaoskit.model import HealthProbe, LinkSpec, ServiceSpec, Toxic
from chaoskit.ports import (
    Clock,
    CrowdControl,
    CrowdFacts,
    ProxyControl,
    RoomObserver,
    ServiceControl,
)
from chaoskit.runtimes.local import LocalRuntime
from chaoskit.runtimes.ports import take_port_block
from tests.conformance.toxiproxies import Server, embedded
from tests.unit.fake_clock import VirtualClock
from tests.unit.fake_crowd import FakeCrowd
from tests.unit.fake_proxy import FakeProxy
from tests.unit.fake_run import fake_run
from tests.unit.fake_services import FakeServices

pytestmark = pytest.mark.contract

TCP = LinkSpec(name="host.signal.room-a", transport="tcp", upstream="127.0.0.1:9")
UDP = LinkSpec(name="host.media.room-a", transport="udp", upstream="dynamic")
SLOW = Toxic(
    name="ck-slow-up", type="latency", stream="upstream", attributes={"latency": 40, "jitter": 5}
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with embedded(tmp_path_factory.mktemp("embedded")) as found:
        yield found


@pytest.fixture(params=["fake", "embedded"])
async def proxy(request: pytest.FixtureRequest) -> AsyncIterator[ProxyControl]:
    if request.param == "fake":
        fake: ProxyControl = FakeProxy((), VirtualClock())
        await fake.populate([TCP, UDP])
        yield fake
        return
    found: Server = request.getfixturevalue("server")
    async with ToxiproxyDriver(found.url) as driver:
        await driver.populate([TCP, UDP])
        yield driver
    found.delete_all()


async def test_links_are_there_after_they_were_made(proxy: ProxyControl) -> None:
    links = await proxy.links()
    assert set(links) == {TCP.name, UDP.name}
    for spec in (TCP, UDP):
        state = await proxy.link(spec.name)
        assert state == links[spec.name]
        assert (state.transport, state.enabled, state.toxics) == (spec.transport, True, ())
    assert (await proxy.version()).server.startswith("chaoskit/")


async def test_a_link_can_be_cut_and_restored_any_number_of_times(proxy: ProxyControl) -> None:
    for enabled in (False, False, True, True, False, True):
        await proxy.set_enabled(TCP.name, enabled, reset=not enabled)
        assert (await proxy.link(TCP.name)).enabled is enabled
        assert (await proxy.link(UDP.name)).enabled
        assert (await proxy.counters(TCP.name)).enabled is enabled


async def test_toxics_are_kept_by_name_and_survive_a_cut(proxy: ProxyControl) -> None:
    await proxy.add_toxic(TCP.name, SLOW)
    await proxy.set_enabled(TCP.name, False)
    await proxy.set_enabled(TCP.name, True)
    (found,) = await proxy.toxics(TCP.name)
    assert found == SLOW
    assert (await proxy.links())[TCP.name].toxics == (SLOW,)
    assert await proxy.toxics(UDP.name) == ()
    await proxy.remove_toxic(TCP.name, SLOW.name)
    assert await proxy.toxics(TCP.name) == ()


async def test_what_cannot_be_done_is_an_adapter_error(proxy: ProxyControl) -> None:
    await proxy.add_toxic(TCP.name, SLOW)
    with pytest.raises(AdapterError):
        await proxy.add_toxic(TCP.name, SLOW)
    with pytest.raises(AdapterError):
        await proxy.remove_toxic(TCP.name, "nobody")
    with pytest.raises(AdapterError):
        await proxy.link("nobody.media.nowhere")
    with pytest.raises(AdapterError):
        await proxy.set_enabled("nobody.media.nowhere", False)
    with pytest.raises(AdapterError):
        await proxy.counters("nobody.media.nowhere")


async def test_counters_of_an_untouched_link_claim_no_effect(proxy: ProxyControl) -> None:
    counters = await proxy.counters(TCP.name)
    assert counters.name == TCP.name
    assert counters.first_effect_s is None
    assert counters.cut == 0


# Serves its port until it is told to end.
SERVICE = """
import os, signal, socket, sys, json
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
name, ready, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
server = socket.create_server(("127.0.0.1", port))
text = json.dumps({"name": name, "pid": os.getpid(), "port": port})
ready.with_suffix(".tmp").write_text(text)
ready.with_suffix(".tmp").replace(ready)
while True:
    server.accept()[0].close()
"""


@pytest.fixture(params=["fake", "local"])
async def services(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ServiceControl]:
    if request.param == "fake":
        yield FakeServices("room-a", "room-b")
        return
    block = take_port_block()
    folder, lock = create_run(tmp_path)
    guardian = await start_guardian(folder, lock, hold=[block.fd])
    runtime = LocalRuntime(folder.path, guardian, block)
    await runtime.start(
        [
            ServiceSpec(
                name=name,
                argv=("{python}", "-c", SERVICE, "{name}", "{ready}", "{port}"),
                ports={"main": 0},
                health=HealthProbe(kind="tcp"),
            )
            for name in ("room-a", "room-b")
        ]
    )
    yield runtime
    await runtime.stop()
    await guardian.close()
    lock.release()
    block.release()


async def state_becomes(services: ServiceControl, name: str, state: str) -> None:
    """Return when the kernel says so; fail with what it says when it does not in time."""
    deadline = time.monotonic() + 5.0
    while (status := await services.status(name)).state != state:
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.01)


async def test_a_service_can_be_stopped_and_let_go_on(services: ServiceControl) -> None:
    pid = (await services.status("room-a")).pid
    await services.signal("room-a", signal.SIGSTOP)
    await state_becomes(services, "room-a", "stopped")
    assert (await services.status("room-b")).state == "running"
    await services.signal("room-a", signal.SIGCONT)
    await state_becomes(services, "room-a", "running")
    assert (await services.status("room-a")).pid == pid


async def test_a_killed_service_has_exited_until_it_is_restarted(services: ServiceControl) -> None:
    pid = (await services.status("room-a")).pid
    await services.signal("room-a", signal.SIGKILL)
    await state_becomes(services, "room-a", "exited")
    assert (await services.status("room-a")).exit == -signal.SIGKILL
    await services.signal("room-a", signal.SIGTERM)
    assert (await services.status("room-a")).exit == -signal.SIGKILL
    await services.restart("room-a")
    status = await services.status("room-a")
    assert status.state == "running"
    assert status.pid != pid


async def test_a_service_that_runs_is_not_started_again(services: ServiceControl) -> None:
    assert services.services() == ("room-a", "room-b")
    pid = (await services.status("room-a")).pid
    await services.restart("room-a")
    assert (await services.status("room-a")).pid == pid


async def test_an_unknown_service_is_an_adapter_error(services: ServiceControl) -> None:
    for call in (services.status, services.restart):
        with pytest.raises(AdapterError):
            await call("room-z")


def test_every_fake_is_what_it_stands_for_to_the_type_checker() -> None:
    run = fake_run()
    ports: dict[str, Any] = {}
    clock: Clock = run.clock
    proxy: ProxyControl = run.proxy
    services: ServiceControl = run.services
    facts: CrowdFacts = run.crowd
    control: CrowdControl = run.crowd
    observer: RoomObserver = run.crowd
    ports.update(
        clock=clock, proxy=proxy, services=services, facts=facts, control=control, observer=observer
    )
    assert all(getattr(run.tools, name) is port for name, port in ports.items())
    assert isinstance(run.crowd, FakeCrowd)
