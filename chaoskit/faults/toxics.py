"""Faults that are toxics on links: naming, reading back and removing them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chaoskit.errors import AdapterError
from chaoskit.faults.protocol import text_of
from chaoskit.model import LinkSpec, Toxic, Undo
from chaoskit.ports import Tools

_SUFFIX = {"upstream": "up", "downstream": "down"}


def toxic_name(fault_id: str, stream: str) -> str:
    """Return the toxic's name: known before it exists, the same in every run of the experiment."""
    return f"ck-{fault_id}-{_SUFFIX[stream]}"


async def add(
    fault_id: str,
    links: Sequence[LinkSpec],
    tools: Tools,
    *,
    type_: str,
    attributes: Mapping[str, Any],
    streams: Iterable[str],
    share: float | None,
    ttl_s: float,
) -> None:
    """Add one toxic per stream to every link. Raises AdapterError.

    With a `share`, the same clients are hit in both directions, on all links and after reconnects.
    """
    proxy = tools.need_proxy()
    for link in links:
        for stream in streams:
            toxic = Toxic(
                name=toxic_name(fault_id, stream),
                type=type_,
                stream=stream,
                toxicity=1.0 if share is None else share,
                attributes=attributes,
                cohort="" if share is None else fault_id,
            )
            await proxy.add_toxic(link.name, toxic, ttl_s=ttl_s)


async def are_present(undo: Undo, tools: Tools) -> bool:
    """Return whether every toxic of the undo is on every link of it."""
    proxy = tools.need_proxy()
    wanted = set(text_of(undo.handle, "toxics"))
    for name in text_of(undo.handle, "links"):
        if not wanted <= {toxic.name for toxic in await proxy.toxics(name)}:
            return False
    return True


async def are_gone(undo: Undo, tools: Tools) -> bool:
    """Return whether none of the undo's toxics is on any of its links."""
    proxy = tools.need_proxy()
    ours = set(text_of(undo.handle, "toxics"))
    for name in text_of(undo.handle, "links"):
        if ours & {toxic.name for toxic in await proxy.toxics(name)}:
            return False
    return True


async def remove(undo: Undo, tools: Tools) -> None:
    """Remove the undo's toxics from its links; those already gone are fine. Raises AdapterError."""
    proxy = tools.need_proxy()
    ours = set(text_of(undo.handle, "toxics"))
    for link in text_of(undo.handle, "links"):
        for toxic in await proxy.toxics(link):
            if toxic.name not in ours:
                continue
            try:
                await proxy.remove_toxic(link, toxic.name)
            except AdapterError:
                # Its own time limit may have ended it between the two calls.
                if any(left.name == toxic.name for left in await proxy.toxics(link)):
                    raise
