"""The toxics: one module each, found by importing every module of this package.

To add one, write a module with one public subclass of `stream.Stage`; its `kind` is the type name
that clients send.
"""

import importlib
import inspect
import pkgutil

from chaoskit.services.fault_proxy.stream import Stage


def _load() -> dict[str, type[Stage]]:
    registry: dict[str, type[Stage]] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for _, stage in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(stage, Stage) and stage.__module__ == module.name:
                registry[stage.kind] = stage
    return registry


REGISTRY = _load()
"""Toxic type name → its stage."""
