"""A live run: builds the adapters of one run around a stack that plays, and owns their end."""

import asyncio
import contextlib
import json
import os
import shlex
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from chaoskit.cli.crowd_plans import ShardShare, shard_plan, share_out
from chaoskit.drivers.crowd import CrowdSockets
from chaoskit.drivers.directory import DirectoryDriver
from chaoskit.drivers.toxiproxy import ToxiproxyDriver
from chaoskit.errors import AdapterError
from chaoskit.guardian.client import GuardianClient, start_guardian
from chaoskit.journal.facts import FactTail
from chaoskit.journal.folder import ProxyAddress, RunFolder, RunLock, create_run
from chaoskit.model import Experiment, LinkSpec, LinkState, ServiceSpec, Stack
from chaoskit.ports import Tools
from chaoskit.rooms.observer import AudioBridgeObserver
from chaoskit.runtimes.clock import MonotonicClock
from chaoskit.runtimes.limits import require_descriptors
from chaoskit.runtimes.local import LocalRuntime
from chaoskit.runtimes.ports import PortBlock, take_port_block
from chaoskit.wire.directory import DirectoryConfig, EventRequest, NodeConfig, Remedies
from chaoskit.wire.identity import identity, source_address

LEASE_S = 10.0
"""The guardian renews it; when the guardian is gone, the proxy heals itself after so long."""
CROWD_START_S = 40.0
"""Longer than the services may take to start: its processes wait for plans until all serve."""
LEAD_S = 0.4
"""Run time 0 lies so long after the crowd's plans: time to read them."""
_SENTINEL_SPEAKER = 16100


@dataclass(slots=True)
class Session:
    """A live run: its folder, its stack, its crowd, and the ports that the engine may use."""

    folder: RunFolder
    lock: RunLock
    block: PortBlock
    guardian: GuardianClient
    runtime: LocalRuntime
    shares: tuple[ShardShare, ...]
    tools: Tools
    facts: FactTail
    origin_s: float
    proxy: ToxiproxyDriver

    async def stop_stack(self) -> list[str]:
        """Stop crowd and services; return the names of those that had to be killed."""
        try:
            stopped = await self.runtime.stop(first=[share.name for share in self.shares])
        except AdapterError:
            return []  # the guardian is gone, and with it every service
        return list(stopped.killed)


@contextlib.asynccontextmanager
async def open_session(
    experiment: Experiment,
    stack: Stack,
    *,
    runs_dir: Path,
    say: Callable[[str], None],
    made: Callable[[RunFolder], None],
) -> AsyncIterator[Session]:
    """Start everything for `experiment`; on the way out stop everything, whatever happened.

    `made` is told of the run folder before anything is started in it.
    Raises EnvironmentMissing for what the machine lacks and for a service that does not come up.
    """
    shares = share_out(experiment)
    people = sum(len(s.participants()) for s in shares)
    require_descriptors(people, shards=len(shares))
    folder, lock = create_run(runs_dir)
    made(folder)
    async with contextlib.AsyncExitStack() as ends:
        ends.callback(lock.release)
        block = take_port_block()
        ends.callback(block.release)
        guardian = await start_guardian(folder, lock, hold=[block.fd])
        ends.push_async_callback(guardian.close)
        runtime = LocalRuntime(folder.path, guardian, block)
        specs = {s.name: _filled(s, experiment, people) for s in stack.services}
        crowd_specs = [_shard_spec(share) for share in shares]
        runtime.prepare([*specs.values(), *crowd_specs])
        say(f"starting {stack.title} and {people} participants in {len(shares)} processes")
        await runtime.start([s for s in specs.values() if s.name != stack.directory])
        # The crowd's processes load while the directory starts; they wait for their plans.
        crowd = asyncio.create_task(runtime.start(crowd_specs, within_s=CROWD_START_S))
        ends.push_async_callback(_settled, crowd)

        url = f"http://{runtime.addresses()[stack.proxy, 'main']}"
        proxy, links = await _open_links(url, folder, guardian, experiment, stack, runtime, shares)
        ends.callback(proxy.close)
        _write_directory_config(folder, experiment, stack, links)
        directory = DirectoryDriver(
            f"http://{links[f'operator.api.{stack.directory}'].listen}", experiment.id
        )
        ends.push_async_callback(directory.close)
        await runtime.start([specs[stack.directory]])
        await directory.create(_event_request(experiment))
        origin_s = time.monotonic() + LEAD_S
        _write_crowd_plans(folder, shares, experiment, stack, links, origin_s=origin_s)
        await crowd
        late_s = time.monotonic() - origin_s
        if late_s > 0:
            say(f"this machine is slow: the crowd was ready {late_s:.1f} s after run time 0")
        observer = AudioBridgeObserver(
            {node: f"ws://{links[f'observer.signal.{node}'].listen}" for node in stack.rooms}
        )
        ends.push_async_callback(observer.close)
        facts = FactTail(folder.path, experiment.crowd, origin_s=origin_s)
        ends.callback(facts.close)
        yield Session(
            folder=folder,
            lock=lock,
            block=block,
            guardian=guardian,
            runtime=runtime,
            shares=shares,
            tools=Tools(
                clock=MonotonicClock(origin_s),
                crowd=experiment.crowd,
                links=stack.links(_own_groups(experiment, stack)),
                proxy=proxy,
                services=runtime,
                control=CrowdSockets(
                    {folder.control_socket(s.name): s.participants() for s in shares}
                ),
                facts=facts,
                observer=observer,
                directory=directory,
                permits=stack.permits(),
            ),
            facts=facts,
            origin_s=origin_s,
            proxy=proxy,
        )


def _own_groups(experiment: Experiment, stack: Stack) -> list[str]:
    """Return the groups whose links the stack does not already have for its harness."""
    return [g.name for g in experiment.crowd.groups if g.name not in stack.harness]


def _filled(spec: ServiceSpec, experiment: Experiment, people: int) -> ServiceSpec:
    values = {
        "{seed}": str(experiment.seed),
        "{listeners}": str(people),
        "{config}": "directory.json",
    }
    argv = tuple(values.get(word, word) for word in spec.argv)
    return replace(spec, argv=_stand_in(spec.name, argv))


def _stand_in(name: str, argv: Sequence[str]) -> tuple[str, ...]:
    """Return `argv`, or the user's own program in place of `{python} -m module`, same arguments.

    CHAOSKIT_SERVICE_ROOM_A="my-room --verbose" puts another implementation under test.
    """
    own = os.environ.get("CHAOSKIT_SERVICE_" + name.upper().replace("-", "_"))
    if not own:
        return tuple(argv)
    return (*shlex.split(own), *argv[3:])


def _shard_spec(share: ShardShare) -> ServiceSpec:
    argv = ["{python}", "-m", "chaoskit.services.crowd", "--name", "{name}", "--ready", "{ready}"]
    argv += ["--plan", f"crowd/{share.name}.json"]
    return ServiceSpec(name=share.name, argv=tuple(argv))


async def _open_links(
    url: str,
    folder: RunFolder,
    guardian: GuardianClient,
    experiment: Experiment,
    stack: Stack,
    runtime: LocalRuntime,
    shares: Sequence[ShardShare],
) -> tuple[ToxiproxyDriver, Mapping[str, LinkState]]:
    folder.note_proxy(ProxyAddress(url=url, epoch=folder.id))
    specs = list(stack.links(_own_groups(experiment, stack), runtime.addresses()))
    specs += [
        LinkSpec(
            name=share.sentinel_link,
            transport="udp",
            upstream="dynamic",
            allowed_peers=(source_address(_SENTINEL_SPEAKER + share.index),),
        )
        for share in shares
        if share.ears
    ]
    opening = ToxiproxyDriver(url)
    try:
        lease = await opening.open_lease(LEASE_S, f"guardian of run {folder.id}")
        links = await opening.populate(specs)
    finally:
        opening.close()
    await guardian.keep_lease(url, lease, ttl_s=LEASE_S)
    return ToxiproxyDriver(url, epoch=folder.id, lease=lease), links


def _write_directory_config(
    folder: RunFolder, experiment: Experiment, stack: Stack, links: Mapping[str, LinkState]
) -> None:
    settings = dict(experiment.profile.settings)
    config = DirectoryConfig(
        nodes=[
            NodeConfig(
                name=node,
                signal_url=f"ws://{links[f'{stack.directory}.signal.{node}'].listen}",
            )
            for node in stack.rooms
        ],
        remedies=Remedies(**settings.pop("remedies", {})),
        **settings,
    )
    (folder.path / "directory.json").write_text(json.dumps(asdict(config), indent=1))


def _event_request(experiment: Experiment) -> EventRequest:
    groups = experiment.crowd.groups
    return EventRequest(
        event=experiment.id,
        account=experiment.account,
        standby_account=experiment.standby_account,
        candidates=[identity(k) for g in groups if g.candidate for k in g.members()],
        speakers=[identity(k) for g in groups if g.speaker is not None for k in g.members()],
    )


async def _settled(task: "asyncio.Task[None]") -> None:
    """Cancel `task` and wait for its end; how it ended is somebody else's to know."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _write_crowd_plans(
    folder: RunFolder,
    shares: Sequence[ShardShare],
    experiment: Experiment,
    stack: Stack,
    links: Mapping[str, LinkState],
    *,
    origin_s: float,
) -> None:
    for share in shares:
        plan = shard_plan(share, experiment, stack, links, origin_s=origin_s)
        draft = folder.crowd_plan(f".{share.name}")
        draft.write_text(plan.to_json())
        draft.replace(folder.crowd_plan(share.name))
