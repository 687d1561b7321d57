"""A fault proxy that accepts toxics and does nothing: the real one, its blackhole let through.

Started in place of `python -m chaoskit.services.fault_proxy`, with the same arguments. It lists the
toxic, reports it and removes it like the real one. The module is run as the thing under test, so
this one file has to name parts of it; no test imports it.
"""

import importlib
import runpy
from typing import Any


def _pass_on(stage: Any, data: bytes, at_s: float) -> None:
    stage.next.feed(data, at_s)


if __name__ == "__main__":
    timeout: Any = importlib.import_module("chaoskit.services.fault_proxy.toxics.timeout").Timeout
    timeout.feed = _pass_on
    timeout.blackhole = False
    runpy.run_module("chaoskit.services.fault_proxy", run_name="__main__", alter_sys=True)
