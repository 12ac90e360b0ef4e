"""Packages of which one submodule is used, without all that they import by themselves."""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def initialise_late(name: str) -> None:
    """Have a package's own code run when something of it is asked for, not when one of its submodules is imported.

    Some packages import all they have at once. What a program imports of them later works as ever; only what it does
    not use is not loaded. Of no effect where the package is imported already. Raises ModuleNotFoundError.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    package = importlib.util.module_from_spec(spec)
    loader = spec.loader

    def give(attribute: str) -> Any:
        if (submodule := _submodule(f"{name}.{attribute}")) is not None:
            return submodule
        package.__dict__.pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, attribute)

    package.__dict__["__getattr__"] = give
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


def _submodule(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None
