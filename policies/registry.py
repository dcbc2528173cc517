"""Find policies by name: built in, from installed packages, or from a file of one's own.

A spec is a name (``sasrec``), a file and a class (``my_policy.py:MyPolicy``), or a module and a
class (``acme.rankers:Mine``). Settings may follow (``lsvcr:variant=paper,epochs=3``), and a plus
joins two (``sasrec+lsvcr``).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from policies.base import Policy
from policies.errors import PolicyError, UnknownPolicy
from policies.mixed import PARTS, Mixed, Part
from policies.names import BUILT_IN, ENTRY_POINTS
from policies.settings import Settings, make_settings

USER_MODULE = "_abtest_user_"
"""Names of modules begin so that were read from a file of somebody's own."""


@dataclass(frozen=True)
class PolicyRecord:
    """What `abtest policy list` shows of one policy.

    Attributes:
        name, summary, source: As shown.
        ranks: "videos", "comments" or both.
        is_oracle: Whether it reads the simulated world's truth.
    """

    name: str
    summary: str
    source: str
    ranks: tuple[str, ...]
    is_oracle: bool = False


def names() -> list[str]:
    """Names of all built-in and installed policies."""
    return sorted({*BUILT_IN, *_plugins()})


def create(spec: str, **settings: Any) -> Policy:
    """A new, unfitted policy.

    Args:
        spec: See the module.
        **settings: Passed to its constructor; those in the spec come first. Of a joined policy,
            ``videos`` and ``comments``: the settings of each part.

    Raises:
        UnknownPolicy: no such policy, settings it does not know, or values that cannot be.
        PolicyError: its code cannot be imported.
    """
    parts = parts_of(spec)
    if parts is not None:
        policy: Policy = _joined(spec, parts, settings)
    else:
        kind = policy_class(spec)
        name, own = split_settings(spec)
        given = {**settings, **own}
        if kind.settings_class is not Settings or kind.__init__ is Policy.__init__:
            make_settings(kind.settings_class, given, name)
        try:
            policy = kind(**given)
        except TypeError as error:
            if not given:
                raise PolicyError(f"policy '{name}' cannot be made: {error}.") from error
            raise UnknownPolicy(
                f"policy '{name}' refuses its settings: {error}.",
                f"See: abtest policy show {name}",
            ) from None
    policy.name = spec
    return policy


def _joined(spec: str, parts: tuple[str, str], settings: Mapping[str, Any]) -> Mixed:
    made = {}
    for what, part in zip(PARTS, parts, strict=True):
        if policy_class(part).is_oracle:
            raise UnknownPolicy(
                f"'{spec}': {part} cannot be a part, it already takes what it "
                "leaves alone from the control.",
                f"Use it by itself: --treatment {part}",
            )
        own = dict(settings.get(what) or {})
        made[what] = Part(part, own, create(part, **own))
    return Mixed(made)


def parts_of(spec: str) -> tuple[str, str] | None:
    """The two names in ``sasrec+lsvcr``; None for a single policy."""
    first, plus, second = spec.partition("+")
    if not plus:
        return None
    # A plus in a file's own name, or in that of its folder, joins nothing.
    path = _path_in(spec)
    if "+" in str(path) and (path.exists() or ("+" in str(path.parent) and path.parent.is_dir())):
        return None
    if "/" in first and not _path_in(first).exists() and split_settings(first)[0] not in _plugins():
        return None
    return first, second


def _path_in(spec: str) -> Path:
    return Path(spec.partition(":")[0])


def split_settings(spec: str) -> tuple[str, dict[str, Any]]:
    """The name in ``lsvcr:variant=paper,epochs=3``, and the settings written after it.

    Values are JSON where they can be read as such, texts otherwise.
    """
    words = spec.split(":")
    at = next((i for i, word in enumerate(words) if i and "=" in word), None)
    if at is None:
        return spec, {}
    name, rest = ":".join(words[:at]), ":".join(words[at:])
    settings = {}
    for pair in rest.split(","):
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UnknownPolicy(
                f"'{spec}': '{pair}' is no setting.", f"Write {name}:NAME=VALUE,NAME=VALUE"
            )
        try:
            settings[key] = json.loads(value)
        except (ValueError, RecursionError):
            settings[key] = value
    return name, settings


def is_built_in(spec: str) -> bool:
    """Whether a policy's code is ours."""
    return split_settings(spec)[0] in BUILT_IN


def settings_of(spec: str, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What ``[policies.NAME]`` says for a policy, or for the parts of a joined one."""
    parts = parts_of(spec)
    if parts is None:
        return dict(settings.get(split_settings(spec)[0], {}))
    return {what: settings_of(part, settings) for what, part in zip(PARTS, parts, strict=True)}


def policy_class(spec: str) -> type[Policy]:
    """The class behind a spec.

    Raises:
        UnknownPolicy, PolicyError: as for `create`.
    """
    if parts_of(spec) is not None:
        return Mixed
    spec, _ = split_settings(spec)
    module = _importable(spec)
    if module:
        return _from_module(spec, module)
    if ":" in spec or spec.endswith(".py"):
        return _from_file(spec)
    if spec in BUILT_IN:
        return _checked(_load(BUILT_IN[spec]), spec)
    plugins = _plugins()
    if spec in plugins:
        try:
            return _checked(plugins[spec].load(), spec)
        except (Exception, SystemExit) as error:
            raise PolicyError(f"plugin '{spec}' cannot be loaded: {error}.") from error
    close = difflib.get_close_matches(spec, names(), n=1)
    guess = f" Did you mean '{close[0]}'?" if close else ""
    raise UnknownPolicy(f"unknown policy '{spec}'.{guess}", "See: abtest policy list")


def ranked_by(kind: type[Policy]) -> tuple[str, ...]:
    """What a policy ranks: "videos", "comments" or both."""
    return kind.ranks or tuple(
        what
        for what, method in (("videos", "score_videos"), ("comments", "score_comments"))
        if getattr(kind, method) is not getattr(Policy, method)
    )


def described(kind: type[Policy]) -> str:
    """What a class says of itself; what its base class says is about another."""
    return inspect.cleandoc(kind.__doc__ or "") or "no description"


def describe_all() -> list[PolicyRecord]:
    """One record per policy that loads; see `plugin_warnings` for the others."""
    records = []
    for name in names():
        try:
            kind = policy_class(name)
        except PolicyError:
            continue
        summary = described(kind).split("\n")[0].rstrip(".")
        source = "built in" if name in BUILT_IN else "plugin"
        records.append(PolicyRecord(name, summary, source, ranked_by(kind), kind.is_oracle))
    return records


def plugin_warnings() -> list[str]:
    """A sentence per installed plugin that does not load, or whose name is taken."""
    warnings = plugin_clashes()
    for name, point in sorted(_plugins().items()):
        try:
            _checked(point.load(), name)
        except (Exception, SystemExit) as error:
            reason = str(error).replace("No module named", "no module")
            warnings.append(
                f"plugin '{name}' skipped: {reason}. Other policies work. Details: abtest doctor"
            )
    return warnings


def _plugins() -> dict[str, importlib.metadata.EntryPoint]:
    """By name; a name that is built in or taken twice is told apart by its package: ``acme/x``."""
    points = list(importlib.metadata.entry_points(group=ENTRY_POINTS))
    often = Counter(point.name for point in points)
    return {
        point.name
        if point.name not in BUILT_IN and often[point.name] == 1
        else f"{_owner(point)}/{point.name}": point
        for point in points
    }


def _owner(point: importlib.metadata.EntryPoint) -> str:
    dist = getattr(point, "dist", None)
    return "unknown" if dist is None else str(dist.name)


def plugin_clashes() -> list[str]:
    """A sentence per installed policy whose name somebody else has as well."""
    clashes = []
    for name, point in sorted(_plugins().items()):
        if name != point.name:
            whose = "built in" if point.name in BUILT_IN else "of another package too"
            clashes.append(f"'{point.name}' of {_owner(point)} is {whose}: write '{name}'")
    return clashes


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _importable(spec: str) -> str:
    """The module in ``acme.rankers:Mine``; empty for a file, a name, or where there is none."""
    module, colon, _ = spec.partition(":")
    dotted = all(part.isidentifier() for part in module.split("."))
    if not colon or not dotted or module.endswith(".py") or module in BUILT_IN:
        return ""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    return "" if found is None else module


def _from_module(spec: str, name: str) -> type[Policy]:
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise PolicyError(f"module {name} cannot be imported: {error}.") from error
    wanted = spec.partition(":")[2]
    if not hasattr(module, wanted):
        close = difflib.get_close_matches(wanted, _policies_of(module), n=1)
        guess = f" Did you mean '{close[0]}'?" if close else ""
        raise UnknownPolicy(f"module {name} has no class '{wanted}'.{guess}")
    return _checked(getattr(module, wanted), spec)


def _policies_of(module: ModuleType) -> list[str]:
    """Names of the policies that a module defines."""
    return [
        name
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, Policy) and kind.__module__ == module.__name__
    ]


def _from_file(spec: str) -> type[Policy]:
    where, _, name = spec.rpartition(":") if ":" in spec else (spec, "", "")
    path = Path(where)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        near = difflib.get_close_matches(path.name, [p.name for p in folder.glob("*.py")], n=1)
        nearby = f" Nearby: {folder / near[0]}." if near else ""
        raise UnknownPolicy(f"no file at {path}.{nearby}", "Write one: abtest policy new my_policy")
    module = _module_of(path)
    if not name:
        policies = _policies_of(module)
        if len(policies) != 1:
            example = f"{path}:{(policies or ['ClassName'])[0]}"
            raise UnknownPolicy(f"{path}: which class?", f"Write {example}")
        name = policies[0]
    if not hasattr(module, name):
        policies = _policies_of(module)
        close = difflib.get_close_matches(name, policies, n=1) or policies[:1]
        guess = f" Did you mean '{close[0]}'?" if close else ""
        raise UnknownPolicy(f"{path} has no class '{name}'.{guess}")
    return _checked(getattr(module, name), spec)


def _module_of(path: Path) -> ModuleType:
    """A file's module, read anew if the file was changed: a notebook goes on after an edit."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path} cannot be imported: {error}.") from error
    # A private name: a user's own folder called `policies` or `random` must not collide.
    digest = hashlib.blake2b(bytes(path.resolve()) + b"\0" + source, digest_size=6).hexdigest()
    name = f"{USER_MODULE}{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # These bytes, not those of a compiled copy that Python believes to be as new.
        exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
    except BaseException as error:
        # Nothing half-imported may be found by the next who asks.
        del sys.modules[name]
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise PolicyError(f"{path} cannot be imported: {error}.", _beside(path, error)) from error
    return module


def _beside(path: Path, error: BaseException) -> str:
    """How to import a module that lies beside a file: its folder is not where Python looks."""
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not name:
        return ""
    if not (path.parent / f"{name}.py").is_file() and not (path.parent / name).is_dir():
        return ""
    return (
        f"{name} lies beside it: set PYTHONPATH={path.resolve().parent}, or make a package "
        "(docs/plugins.md)"
    )


def _checked(kind: Any, spec: str) -> type[Policy]:
    if not (inspect.isclass(kind) and issubclass(kind, Policy)):
        raise PolicyError(
            f"'{spec}' is not a subclass of policies.base.Policy.",
            "Write one: abtest policy new my_policy",
        )
    return kind
