"""Healing from the journal alone, at a real fault proxy: ours, somebody else's, hung, gone."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaoskit.drivers.toxiproxy import ToxiproxyDriver, ToxiproxyError
from chaoskit.guardian.client import GuardianClient, start_guardian
from chaoskit.guardian.takeover import heal_all, heal_run
from chaoskit.journal.folder import ProxyAddress, RunFolder, create_run, find_run
from chaoskit.journal.reader import load_journal, pending_undos
from chaoskit.model import FaultHealed, HealEnded, LinkSpec, ServiceSpec
from chaoskit.runtimes.local import LocalRuntime
from chaoskit.runtimes.ports import PortBlock, take_port_block
from tests.kill.guardian_rig import are_gone, injecting, journal_of, start_process, wait_until

pytestmark = pytest.mark.kill

LINK = "host.api.directory"
PROXY = ServiceSpec(
    name="fault-proxy",
    argv=(
        "{python}", "-m", "chaoskit.services.fault_proxy",
        "--name", "{name}", "--ready", "{ready}", "--port", "{port}",
    ),
    ports={"main": 0},
)  # fmt: skip


async def make_link(driver: ToxiproxyDriver) -> None:
    await driver.populate([LinkSpec(name=LINK, transport="tcp", upstream="127.0.0.1:9")])


def write_cut(folder: RunFolder) -> None:
    """Journal what a drop writes before it cuts the link."""
    writer = journal_of(folder)
    writer.append(injecting("cut", "drop", links=[LINK], up=[LINK]), durable=True)
    writer.close()


def heals_in(folder: RunFolder) -> list[FaultHealed]:
    return [e for e in load_journal(folder.journal).events if isinstance(e, FaultHealed)]


@dataclass
class Other:
    """A fault proxy that is no process of the run."""

    url: str
    process: "subprocess.Popen[bytes]"


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Other]:
    ready = tmp_path / "proxy-ready.json"
    module = [sys.executable, "-m", "chaoskit.services.fault_proxy"]
    process = start_process([*module, "--name", "other", "--ready", str(ready), "--port", "0"])
    await wait_until(
        lambda: None if ready.exists() else f"no proxy: exit {process.poll()}", within_s=15.0
    )
    yield Other(f"http://127.0.0.1:{json.loads(ready.read_bytes())['port']}", process)
    process.kill()
    process.wait()


@pytest.fixture
def dead_run(tmp_path: Path) -> RunFolder:
    folder, lock = create_run(tmp_path / "runs")
    lock.release()
    return folder


async def test_healing_from_the_journal_alone_restores_a_link_and_shuts_the_epoch(
    other: Other, dead_run: RunFolder
) -> None:
    dead_run.note_proxy(ProxyAddress(url=other.url, epoch=dead_run.id, ours=False))
    write_cut(dead_run)
    async with (
        ToxiproxyDriver(other.url, epoch=dead_run.id) as engine,
        ToxiproxyDriver(other.url) as eye,
    ):
        await make_link(engine)
        await engine.set_enabled(LINK, False, reset=True)

        report = await heal_run(dead_run)

        assert (report.healed, report.residual, report.clean) == (("cut",), (), True)
        assert (await eye.link(LINK)).enabled
        assert [(heal.by, heal.confirmed, heal.detail) for heal in heals_in(dead_run)] == [
            ("heal", True, "")
        ]
        with pytest.raises(ToxiproxyError, match=r"epoch closed"):
            await engine.set_enabled(LINK, False)
        assert (await eye.link(LINK)).enabled
    assert (await heal_run(dead_run)).idle


async def test_a_write_that_lands_after_the_first_read_is_healed_by_the_second(
    other: Other, dead_run: RunFolder
) -> None:
    """As from a server without epochs: the late write carries none."""
    dead_run.note_proxy(ProxyAddress(url=other.url, epoch=dead_run.id, ours=False))
    write_cut(dead_run)
    async with ToxiproxyDriver(other.url) as late:
        await make_link(late)
        await late.set_enabled(LINK, False)
        healing = asyncio.create_task(heal_run(dead_run))
        deadline = time.monotonic() + 10.0
        while not (await late.link(LINK)).enabled:
            assert time.monotonic() < deadline, "never healed"
        await late.set_enabled(LINK, False)

        report = await healing

        assert report.healed == ("cut",)
        assert (await late.link(LINK)).enabled


async def test_a_fault_at_somebody_elses_proxy_that_is_gone_is_residue(
    other: Other, dead_run: RunFolder
) -> None:
    dead_run.note_proxy(ProxyAddress(url=other.url, epoch=dead_run.id, ours=False))
    write_cut(dead_run)
    other.process.kill()
    other.process.wait()

    report = await heal_run(dead_run)

    assert report.residual == ("cut",)
    assert not report.clean
    assert "no answer from 127.0.0.1" in report.notes[0]
    assert [undo.fault_id for undo in pending_undos(load_journal(dead_run.journal).events)] == [
        "cut"
    ]


async def test_heal_all_heals_every_dead_run_and_passes_over_the_live_ones(
    tmp_path: Path, other: Other, dead_run: RunFolder
) -> None:
    live, lock = create_run(tmp_path / "runs")
    write_cut(live)
    write_cut(dead_run)
    dead_run.note_proxy(ProxyAddress(url=other.url, epoch=dead_run.id, ours=False))
    async with ToxiproxyDriver(other.url) as driver:
        await make_link(driver)

    reports = {report.run: report for report in await heal_all(tmp_path / "runs")}

    assert reports[live.id].live
    assert reports[dead_run.id].healed == ("cut",)
    assert not live.heal.exists()
    lock.release()


async def test_heal_all_ends_what_is_left_of_a_run_whose_folder_was_deleted(
    tmp_path: Path,
) -> None:
    deleted = tmp_path / "runs" / "dead"
    stray = start_process(
        [sys.executable, "-c", "import time; time.sleep(600)"], CHAOSKIT_RUN_FOLDER=str(deleted)
    )

    reports = await heal_all(tmp_path / "runs")

    assert stray.wait() == -signal.SIGKILL
    assert [report.run for report in reports] == ["dead"]
    assert reports[0].killed[0].startswith(f"{stray.pid} (")


@pytest.mark.parametrize("spelling", ["link", "disk"])
async def test_what_is_left_of_a_run_is_found_however_its_place_is_spelt(
    tmp_path: Path, spelling: str
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    folder, lock = create_run(tmp_path / "link")
    lock.release()
    stray = start_process(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        CHAOSKIT_RUN_FOLDER=str(tmp_path / spelling / folder.id),
    )

    report = await heal_run(find_run(tmp_path / "link", folder.id))

    assert stray.wait() == -signal.SIGKILL
    assert [one.split()[0] for one in report.killed] == [str(stray.pid)]


async def test_heal_all_ends_a_deleted_run_of_a_symlinked_place(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    stray = start_process(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        CHAOSKIT_RUN_FOLDER=str(tmp_path / "disk" / "dead"),
    )

    reports = await heal_all(tmp_path / "link")

    assert stray.wait() == -signal.SIGKILL
    assert [report.run for report in reports] == ["dead"]


async def test_a_lease_holds_a_fault_as_long_as_the_guardian_lives_and_no_longer(
    tmp_path: Path, other: Other
) -> None:
    folder, lock = create_run(tmp_path / "runs")
    guardian = await start_guardian(folder, lock)
    async with ToxiproxyDriver(other.url) as driver:
        await make_link(driver)
        lease = await driver.open_lease(2.0, "engine")
        await guardian.keep_lease(other.url, lease, ttl_s=2.0)
        await driver.set_enabled(LINK, False)
        start_s = await driver.clock()
        while await driver.clock() < start_s + 3.0:  # longer than the lease
            assert not (await driver.link(LINK)).enabled

        os.kill(guardian.pid, signal.SIGKILL)

        deadline = time.monotonic() + 10.0
        while not (await driver.link(LINK)).enabled:
            assert time.monotonic() < deadline, "the lease never lapsed"
    await guardian.close()
    lock.release()


@pytest.fixture
def block() -> Iterator[PortBlock]:
    block = take_port_block()
    yield block
    block.release()


@dataclass
class Held:
    """A run whose proxy is a child of its guardian, with the link cut and its undo on disk."""

    folder: RunFolder
    guardian: GuardianClient
    proxy_pid: int

    async def take_over(self) -> list[FaultHealed]:
        """Have the guardian take the run over, as when its engine dies."""
        os.kill(self.guardian.pid, signal.SIGTERM)
        await asyncio.wait_for(self.guardian.lost.wait(), 10.0)
        return heals_in(self.folder)


@pytest.fixture
async def held(tmp_path: Path, block: PortBlock) -> AsyncIterator[Held]:
    folder, lock = create_run(tmp_path / "runs")
    guardian = await start_guardian(folder, lock, hold=[block.fd])
    runtime = LocalRuntime(folder.path, guardian, block)
    try:
        await runtime.start([PROXY], within_s=20.0)
        url = f"http://127.0.0.1:{runtime.port('fault-proxy')}"
        folder.note_proxy(ProxyAddress(url=url, epoch=folder.id))
        async with ToxiproxyDriver(url, epoch=folder.id) as driver:
            await make_link(driver)
            write_cut(folder)
            await driver.set_enabled(LINK, False, reset=True)
        yield Held(folder, guardian, (await runtime.status("fault-proxy")).pid)
    finally:
        await guardian.close()
        lock.release()


async def test_the_guardian_heals_in_place_before_it_ends_the_proxy(held: Held) -> None:
    heals = await held.take_over()

    assert [(heal.by, heal.confirmed, heal.detail) for heal in heals] == [("guardian", True, "")]
    assert are_gone([held.proxy_pid]) is None
    end = load_journal(held.folder.journal).events[-1]
    assert isinstance(end, HealEnded)
    assert end.killed == end.left == ()


async def test_a_proxy_that_was_stopped_is_woken_and_healed(held: Held) -> None:
    os.kill(held.proxy_pid, signal.SIGSTOP)

    heals = await held.take_over()

    assert [(heal.confirmed, heal.detail) for heal in heals] == [(True, "")]


async def test_faults_of_a_proxy_that_died_with_the_run_are_over(held: Held) -> None:
    os.kill(held.proxy_pid, signal.SIGKILL)

    heals = await held.take_over()

    assert [heal.confirmed for heal in heals] == [True]
    assert heals[0].detail.startswith("ended with the stack; in place: toxiproxy: no answer")


async def test_nothing_is_left_when_the_disk_is_gone_too(held: Held) -> None:
    """The record cannot be written any more: the stack is taken down all the same."""
    held.folder.heal.mkdir()

    os.kill(held.guardian.pid, signal.SIGTERM)
    await asyncio.wait_for(held.guardian.lost.wait(), 10.0)

    assert are_gone([held.proxy_pid]) is None
