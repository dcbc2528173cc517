"""Policies by name: built in, from installed packages, or from a file of one's own."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.base import Policy
from policies.errors import PolicyError, UnknownPolicy
from policies.settings import check_settings

ENTRY_POINTS = "abtest.policies"

PARTS = ("videos", "comments")
"""What the two policies of a joined name rank, in order."""

# Imported only when asked for, so that listing policies does not load torch.
BUILT_IN = {
    "random": "policies.videos.random:RandomPolicy",
    "popular": "policies.videos.popular:PopularPolicy",
    "itemknn": "policies.videos.itemknn:ItemKNN",
    "ease": "policies.videos.ease:EASE",
    "gru4rec": "policies.videos.gru4rec:GRU4Rec",
    "sasrec": "policies.videos.sasrec:SASRec",
    "bert4rec": "policies.videos.bert4rec:BERT4Rec",
    "fmlprec": "policies.videos.fmlprec:FMLPRec",
    "hstu": "policies.videos.hstu:HSTU",
    "unisrec": "policies.videos.unisrec:UniSRec",
    "two-tower": "policies.videos.two_tower:TwoTower",
    "likes": "policies.comments.orders:Likes",
    "newest": "policies.comments.orders:Newest",
    "comment-sasrec": "policies.comments.sasrec:CommentSASRec",
    "text-similarity": "policies.comments.text_similarity:TextSimilarity",
    "lsvcr": "lsvcr.policy:LSVCR",
    "oracle": "abtest.run.oracle:Oracle",
    "oracle-video": "abtest.run.oracle:OracleVideo",
    "oracle-comments": "abtest.run.oracle:OracleComments",
}


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
        spec: A name, ``path/to/file.py:ClassName``, or two joined by a plus: the videos of the
            first and the comments of the second.
        **settings: Passed to its constructor.

    Raises:
        UnknownPolicy: no such policy, settings it does not know, or values that cannot be.
        PolicyError: its code cannot be imported.
    """
    kind = policy_class(spec)
    parts = parts_of(spec)
    if spec in BUILT_IN:
        check_settings(spec, kind, settings)
    try:
        policy = kind(**settings) if parts is None else kind(parts=parts, **settings)
    except TypeError as error:
        if not settings:
            raise PolicyError(f"policy '{spec}' cannot be made: {error}.") from error
        raise UnknownPolicy(
            f"policy '{spec}' refuses its settings: {error}.", f"See: abtest policy show {spec}"
        ) from None
    policy.name = spec
    return policy


def parts_of(spec: str) -> tuple[str, str] | None:
    """The two names in ``sasrec+lsvcr``; None for a single policy."""
    first, plus, second = spec.partition("+")
    # A plus in a file's own name joins nothing.
    return (first, second) if plus and "/" not in spec and not Path(spec).exists() else None


def settings_of(spec: str, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What ``[policies.NAME]`` says for a policy, or for the parts of a joined one."""
    parts = parts_of(spec)
    if parts is None:
        return dict(settings.get(spec, {}))
    return {what: dict(settings.get(part, {})) for what, part in zip(PARTS, parts, strict=True)}


def policy_class(spec: str) -> type[Policy]:
    """The class behind a name, a ``file.py:Class`` or two joined names.

    Raises:
        UnknownPolicy, PolicyError: as for `create`.
    """
    if parts_of(spec) is not None:
        return _checked(_load("policies.mixed:Mixed"), spec)
    if ":" in spec or spec.endswith(".py"):
        return _from_file(spec)
    if spec in BUILT_IN:
        return _checked(_load(BUILT_IN[spec]), spec)
    plugins = _plugins()
    if spec in plugins:
        try:
            return _checked(plugins[spec].load(), spec)
        except Exception as error:
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


def describe_all() -> list[PolicyRecord]:
    """One record per policy that loads; see `plugin_warnings` for the others."""
    records = []
    for name in names():
        try:
            kind = policy_class(name)
        except PolicyError:
            continue
        summary = (inspect.getdoc(kind) or "").split("\n")[0].rstrip(".")
        source = "built in" if name in BUILT_IN else "plugin"
        records.append(PolicyRecord(name, summary, source, ranked_by(kind), kind.is_oracle))
    return records


def plugin_warnings() -> list[str]:
    """A sentence per installed plugin that does not load."""
    warnings = []
    for name, point in sorted(_plugins().items()):
        try:
            _checked(point.load(), name)
        except Exception as error:
            reason = str(error).replace("No module named", "no module")
            warnings.append(
                f"plugin '{name}' skipped: {reason}. Other policies work. Details: abtest doctor"
            )
    return warnings


def _plugins() -> dict[str, importlib.metadata.EntryPoint]:
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return {point.name: point for point in points if point.name not in BUILT_IN}


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _from_file(spec: str) -> type[Policy]:
    where, _, name = spec.rpartition(":") if ":" in spec else (spec, "", "")
    path = Path(where)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        near = difflib.get_close_matches(path.name, [p.name for p in folder.glob("*.py")], n=1)
        nearby = f" Nearby: {folder / near[0]}." if near else ""
        raise UnknownPolicy(f"no file at {path}.{nearby}", "Write one: abtest policy new my_policy")
    # A private name: a user's own folder called `policies` or `random` must not collide.
    digest = hashlib.blake2b(str(path.resolve()).encode(), digest_size=6).hexdigest()
    module_name = f"_abtest_user_{path.stem}_{digest}"
    module = sys.modules.get(module_name)
    if module is None:
        spec_of_module = importlib.util.spec_from_file_location(module_name, path)
        assert spec_of_module is not None and spec_of_module.loader is not None
        module = importlib.util.module_from_spec(spec_of_module)
        sys.modules[module_name] = module
        try:
            spec_of_module.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise PolicyError(f"{path} cannot be imported: {error}.") from error
    classes = [
        n for n, k in vars(module).items() if inspect.isclass(k) and k.__module__ == module_name
    ]
    if not name:
        raise UnknownPolicy(
            f"{path}: which class?", f"Write {path}:{classes[0] if classes else 'ClassName'}"
        )
    if not hasattr(module, name):
        close = difflib.get_close_matches(name, classes, n=1) or classes[:1]
        guess = f" Did you mean '{close[0]}'?" if close else ""
        raise UnknownPolicy(f"{path} has no class '{name}'.{guess}")
    return _checked(getattr(module, name), spec)


def _checked(kind: Any, spec: str) -> type[Policy]:
    if not (inspect.isclass(kind) and issubclass(kind, Policy)):
        raise PolicyError(
            f"'{spec}' is not a subclass of policies.base.Policy.", "See: abtest policy new"
        )
    return kind
