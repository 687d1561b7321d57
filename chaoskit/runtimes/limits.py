"""How many open files each process of a stack needs, and whether this machine lets it have them."""

import resource
from dataclasses import dataclass

from chaoskit.errors import EnvironmentMissing
from chaoskit.wire.descriptors import CROWD, DIRECTORY, FAULT_PROXY, ROOM, OpenFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorNeed:
    """Open files that one process needs at most."""

    process: str
    count: int
    why: str


def need_descriptors(listeners: int, *, shards: int = 1) -> tuple[DescriptorNeed, ...]:
    """Return what each process needs for `listeners` listeners in `shards` shards."""
    per_shard = -(-listeners // max(1, shards))
    needs: tuple[tuple[str, OpenFiles, int], ...] = (
        ("fault-proxy", FAULT_PROXY, listeners),
        ("room-*", ROOM, listeners),
        ("directory", DIRECTORY, listeners),
        ("crowd-*", CROWD, per_shard),
    )
    return tuple(
        DescriptorNeed(process=process, count=files.need(of), why=str(files))
        for process, files, of in needs
    )


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one and return it.

    Children inherit it: call it before the guardian is started.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def require_descriptors(listeners: int, *, shards: int = 1) -> None:
    """Raise the limit; EnvironmentMissing with the need per process when it is still too low."""
    limit = raise_descriptor_limit()
    needs = need_descriptors(listeners, shards=shards)
    if limit == resource.RLIM_INFINITY or all(need.count <= limit for need in needs):
        return
    most = max(need.count for need in needs)
    table = "\n".join(
        f"  {need.process:<12} {need.count:>7,}  {need.why}"
        + ("" if need.count <= limit else "   too many")
        for need in needs
    )
    raise EnvironmentMissing(
        f"{listeners:,} listeners need more open files than the {limit:,} this shell allows"
        f" a process:\n{table}",
        hint=f"ulimit -Hn {most} (as root), or fewer listeners",
    )
