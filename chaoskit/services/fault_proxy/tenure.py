"""How long faults may live: time limits, leases that a holder must renew, and epochs of runs.

Whoever sets a fault may die before lifting it. A time limit lifts the fault by itself; a lapsed
lease lifts everything that was set under it; a closed epoch refuses late writes of a dead run.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chaoskit.services.fault_proxy.link import Link
from chaoskit.services.fault_proxy.refusals import Refusal
from chaoskit.services.fault_proxy.relay import Relay
from chaoskit.services.fault_proxy.timeline import Timer
from chaoskit.services.fault_proxy.toxic import Toxic


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a write says of its own life: a time limit in seconds, a lease, the epoch of its run."""

    ttl_s: float | None = None
    lease: str | None = None
    epoch: str | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class _Fault:
    """A toxic, or the cut of a link (`toxic` None), that ends by itself."""

    link: Link
    toxic: Toxic | None
    lease: str | None
    timer: Timer | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class _Lease:
    id: str
    holder: str
    ttl_s: float
    timer: Timer
    faults: dict[_Fault, None] = field(default_factory=dict)


class FaultBook:
    """Remembers which faults end by themselves, and ends them."""

    def __init__(self, relay: Relay, is_there: Callable[[Link], bool]) -> None:
        """`is_there(link)`: whether the link still exists."""
        self._relay = relay
        self._is_there = is_there
        self._faults: dict[tuple[Link, Toxic | None], _Fault] = {}
        self._leases: dict[str, _Lease] = {}
        self._closed_epochs: set[str] = set()

    def admit(self, terms: Terms) -> None:
        """Check a write before it happens. Raises Refusal 409: closed epoch, unknown lease."""
        if terms.epoch is not None and terms.epoch in self._closed_epochs:
            raise Refusal(409, "epoch closed")
        if terms.lease is not None and terms.lease not in self._leases:
            raise Refusal(409, "lease not found")

    def hold(self, link: Link, toxic: Toxic | None, terms: Terms) -> None:
        """Take note of a fault that was just set; what was known of it before is void."""
        self._forget(link, toxic)
        if terms.ttl_s is None and terms.lease is None:
            return
        fault = _Fault(link=link, toxic=toxic, lease=terms.lease)
        if terms.ttl_s is not None:
            fault.timer = self._relay.timeline.after(
                terms.ttl_s, lambda: self._lift(fault, "ttl_expired")
            )
        if terms.lease is not None:
            self._leases[terms.lease].faults[fault] = None
        self._faults[link, toxic] = fault

    def lifted(self, link: Link, toxic: Toxic | None) -> None:
        """Take note that a fault was lifted by hand."""
        self._forget(link, toxic)

    def open_lease(self, ttl_s: float, holder: str) -> dict[str, Any]:
        """Open a lease that lapses in `ttl_s` seconds unless renewed."""
        lease_id = secrets.token_hex(8)
        self._leases[lease_id] = _Lease(
            id=lease_id, holder=holder, ttl_s=ttl_s, timer=self._lapse_after(ttl_s, lease_id)
        )
        self._relay.events.add("lease_opened", detail=f"{holder} {lease_id}")
        return {"id": lease_id, "ttl_s": ttl_s}

    def renew_lease(self, lease_id: str) -> dict[str, Any]:
        """Let a lease live for its whole time from now on. Raises Refusal 404."""
        lease = self._lease(lease_id)
        lease.timer.cancel()
        lease.timer = self._lapse_after(lease.ttl_s, lease_id)
        return {"id": lease.id, "ttl_s": lease.ttl_s}

    def close_lease(self, lease_id: str) -> None:
        """End a lease and lift its faults. Raises Refusal 404."""
        self._lease(lease_id)
        self._end_lease(lease_id, "lease_closed")

    def close_epoch(self, epoch: str) -> None:
        """Refuse later writes of `epoch`; faults that it set stay until they are lifted."""
        if epoch not in self._closed_epochs:
            self._closed_epochs.add(epoch)
            self._relay.events.add("epoch_closed", detail=epoch)

    def _lease(self, lease_id: str) -> _Lease:
        try:
            return self._leases[lease_id]
        except KeyError:
            raise Refusal(404, "lease not found") from None

    def _lapse_after(self, ttl_s: float, lease_id: str) -> Timer:
        return self._relay.timeline.after(ttl_s, lambda: self._end_lease(lease_id, "lease_lapsed"))

    def _end_lease(self, lease_id: str, kind: str) -> None:
        lease = self._leases.pop(lease_id)
        lease.timer.cancel()
        self._relay.events.add(kind, detail=f"{lease.holder} {lease_id}")
        for fault in list(lease.faults):
            self._lift(fault, kind)

    def _lift(self, fault: _Fault, kind: str) -> None:
        self._forget(fault.link, fault.toxic)
        link, toxic = fault.link, fault.toxic
        if not self._is_there(link):
            return
        events = self._relay.events
        if toxic is not None:
            if toxic in link.toxics:
                events.add(kind, link=link.name, toxic=toxic.name)
                link.remove_toxic(toxic, why=kind)
        elif not link.enabled:
            events.add(kind, link=link.name)
            try:
                link.start()
            except Refusal as refusal:  # cannot happen while the link keeps its port
                events.add("revert_failed", link=link.name, detail=refusal.message)
            else:
                events.add("link_enabled", link=link.name, detail=kind)

    def _forget(self, link: Link, toxic: Toxic | None) -> None:
        fault = self._faults.pop((link, toxic), None)
        if fault is None:
            return
        if fault.timer is not None:
            fault.timer.cancel()
        if fault.lease in self._leases:
            self._leases[fault.lease].faults.pop(fault, None)
