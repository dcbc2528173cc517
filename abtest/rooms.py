"""Let `abtest.run`, `abtest.evaluate`, `abtest.analyze` and `abtest.replay` be called.

Each of these names is a module of the application and, in Python, a function of its interface
(`abtest.api`): ``abtest.run(treatment="lsvcr")`` runs an experiment, ``abtest.run.experiment`` is
a module. Importing the package imports none of them; the first use does. So it is with
`abtest.Policy`, the base class of every ranker, which lives in `policies.base`.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

CALLABLE = ("run", "evaluate", "analyze", "replay")
ELSEWHERE = {"Policy": "policies.base"}
"""Names of the package that live in a module outside it."""


class Room(ModuleType):
    """A module that passes calls on to the function of its name in `abtest.api`."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call it."""
        name = self.__name__.rpartition(".")[2]
        return getattr(importlib.import_module("abtest.api"), name)(*arguments, **named)


class Package(ModuleType):
    """The package `abtest`: makes its rooms callable when they are imported, by whomever."""

    def __getattr__(self, name: str) -> Any:
        """Import a room, or what lives elsewhere, at its first use."""
        if name in CALLABLE:
            return importlib.import_module(f"{self.__name__}.{name}")
        if name in ELSEWHERE:
            return getattr(importlib.import_module(ELSEWHERE[name]), name)
        raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        """Where the import system puts a submodule when it is loaded."""
        if name in CALLABLE and type(value) is ModuleType:
            value.__class__ = Room
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        """With the rooms and what lives elsewhere, also before they are imported."""
        return sorted({*super().__dir__(), *CALLABLE, *ELSEWHERE})
