"""Hash the code that decides what a policy learns: its own files, what they import, its parts.

Weights are kept under this hash, so that a policy whose code was changed is trained again.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from policies.base import Policy
from policies.errors import PolicyError
from policies.mixed import Part
from policies.registry import USER_MODULE

_ROOT = Path(inspect.getfile(Policy)).parents[1]
_LEARNING = ("policies", "lsvcr", "simulator/logs")
_OURS = frozenset(("abtest", "simulator", "policies", "lsvcr", "reports"))
_INSTALLED = frozenset(("site-packages", "dist-packages"))
_loaded: dict[Path, bytes] = {}
"""Digests of imported files when this process first asked: it goes on with that code."""


def code_version(policy: Policy) -> str:
    """A hash of the source files that can change what the policy learns.

    For a policy of ours: every module of the packages `policies`, `lsvcr` and `simulator.logs`.
    For any other, and for one that holds such a policy: its own files as well (`own_sources`).

    Raises:
        PolicyError: one of them was changed after this process had imported it.
    """
    files = [file for package in _LEARNING for file in sorted((_ROOT / package).rglob("*.py"))]
    known = set(files)
    for one in _with_parts(policy):
        for file in own_sources(type(one)):
            if file not in known:
                known.add(file)
                files.append(file)
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def own_sources(kind: type[Policy]) -> list[Path]:
    """The files of a class that is not ours, of its base classes, and what these files import.

    Followed are imports from the same package, and from files that are in no ``site-packages``:
    a module beside a policy's file, or a project that is installed to be edited.

    Raises:
        PolicyError: one of them was changed after this process had imported it.
    """
    found: dict[Path, None] = {}
    for ancestor in kind.__mro__:
        module, home = sys.modules.get(ancestor.__module__), _top(ancestor.__module__)
        if module is None or home in _OURS or home in sys.stdlib_module_names:
            continue
        file = Path(getattr(module, "__file__", None) or "")
        # Of what is installed, a policy's package; not that of a class it mixes in.
        ranker = issubclass(ancestor, Policy) or home == _top(kind.__module__)
        if file.is_file() and (ranker or _INSTALLED.isdisjoint(file.parts)):
            _follow(file, str(getattr(module, "__package__", "") or ""), home, found)
    for file in found:
        _refuse_changed(file)
    return list(found)


def _with_parts(policy: Policy) -> Iterator[Policy]:
    """A policy and those that it holds."""
    seen: set[int] = set()
    waiting: list[Any] = [policy]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Policy):
            yield one
            waiting += vars(one).values()
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, (list, tuple)):
            waiting += one
        elif isinstance(one, Part):
            waiting.append(one.policy)


def _follow(file: Path, package: str, home: str, found: dict[Path, None]) -> None:
    """Add a file and, in the order of its lines, what it imports.

    Args:
        file: A source file.
        package: That its relative imports start from.
        home: The package of the policy, followed wherever it is installed.
        found: Filled.
    """
    if file in found or file.suffix != ".py":
        return
    found[file] = None
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for name in dict.fromkeys(_imported(tree, package)):
        if _top(name) in _OURS or _top(name) in sys.stdlib_module_names:
            continue
        for spec in _specs(name):
            target = Path(spec.origin or "")
            elsewhere = _INSTALLED.isdisjoint(target.parts)
            if target.is_file() and (elsewhere or _top(name) == home):
                inside = spec.name if spec.submodule_search_locations else spec.parent
                _follow(target, inside or "", home, found)


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Full names that a file imports; of ``from a import b`` also ``a.b``: it may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _specs(name: str) -> Iterator[ModuleSpec]:
    """Where the modules ``a``, ``a.b``, ``a.b.c`` of a name are, as far as there are any."""
    spec: ModuleSpec | None
    try:
        spec = importlib.util.find_spec(_top(name))
    except (ImportError, ValueError, AttributeError):
        return
    path = _top(name)
    for part in name.split(".")[1:]:
        if spec is None:
            return
        yield spec
        if spec.submodule_search_locations is None:
            return
        path = f"{path}.{part}"
        spec = PathFinder.find_spec(path, spec.submodule_search_locations)
    if spec is not None:
        yield spec


def _refuse_changed(file: Path) -> None:
    """A process keeps the code that it has imported; weights must not be kept under other code."""
    names = [n for n, m in tuple(sys.modules.items()) if getattr(m, "__file__", "") == str(file)]
    if not names or any(name.startswith(USER_MODULE) for name in names):
        return  # Not imported yet, or by `policies.registry`, which reads a changed file anew.
    now = hashlib.blake2b(file.read_bytes(), digest_size=16).digest()
    if _loaded.setdefault(file, now) != now:
        raise PolicyError(
            f"{file} was changed after this process had imported it.",
            "Start again: in a notebook, restart the kernel",
        )


def _top(name: str) -> str:
    return name.partition(".")[0]
