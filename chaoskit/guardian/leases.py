"""Keeps leases of the fault proxy alive, whatever the engine is doing."""

import asyncio
from collections.abc import Callable

from chaoskit.runtimes import plain_http
from chaoskit.wire.guardian import KeepLease

_LONGEST_TRY_S = 1.0


async def keep_lease(lease: KeepLease, trouble: Callable[[str], None]) -> None:
    """Renew `lease` every third of its time until it is gone at the proxy; report a first failure.

    A proxy that does not answer is asked again: it may be paused, and a lapse heals, never harms.
    """
    url = f"{lease.url.rstrip('/')}/chaoskit/leases/{lease.lease}"
    period_s = lease.ttl_s / 3
    in_trouble = False
    while True:
        await asyncio.sleep(period_s)
        try:
            status, _ = await plain_http.request(
                "PUT", url, timeout_s=min(period_s, _LONGEST_TRY_S)
            )
        except OSError as error:
            why = f"not renewed: {str(error) or type(error).__name__}"
        else:
            why = "" if status == 200 else f"not renewed: the fault proxy answered {status}"
            if status == 404:
                trouble("the fault proxy does not know the lease any more")
                return
        if why and not in_trouble:
            trouble(why)
        in_trouble = bool(why)
