"""Settings of built-in policies that cannot be: refused before anything is trained.

Every policy's constructor says what a setting is; this module says which values it may have, in
one place for all of them, because the same names mean the same everywhere.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from policies.base import Policy
from policies.errors import UnknownPolicy
from simulator.requests import SIGNALS

_AT_LEAST_ONE = {
    "batch",
    "dim",
    "epoch_steps",
    "epochs",
    "experts",
    "feed_forward",
    "heads",
    "layers",
    "length",
    "max_videos",
    "negatives",
    "neighbours",
    "patience",
    "targets",
    "text_dim",
    "tokens",
}
_ABOVE_ZERO = {"half_life_days", "learning_rate", "masked", "regularisation", "temperature"}
_AT_LEAST_ZERO = {"id_text_weight", "shrinkage"}
_BELOW_ONE = {"dropout", "hidden", "last_only", "masked"}
_SHARES = {"dropout", "hidden", "last_only", "video_share"}


def check_settings(name: str, kind: type[Policy], given: Mapping[str, Any]) -> None:
    """Refuse values that a built-in policy cannot work with; names are its constructor's affair.

    Args:
        name: Of the policy, for the message.
        kind: Its class.
        given: Settings for its constructor. What the constructor itself would take, its default,
            is always right: 0 may stand for "by size", None for "not given".

    Raises:
        UnknownPolicy: a value of the wrong type or out of its range.
    """
    parameters = inspect.signature(kind).parameters
    values = {key: p.default for key, p in parameters.items()} | dict(given)
    for key, value in given.items():
        if key not in parameters or _same(value, parameters[key].default):
            continue
        expected = _type_wanted(parameters[key], value) or _range_wanted(key, value)
        if expected:
            raise _refused(name, key, value, expected)
    dim, heads = values.get("dim"), values.get("heads")
    if isinstance(dim, int) and isinstance(heads, int) and dim % heads:
        raise _refused(name, "heads", heads, f"a divisor of dim, which is {dim}")


def _same(value: Any, default: Any) -> bool:
    # True == 1.
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


def _refused(name: str, key: str, value: Any, expected: str) -> UnknownPolicy:
    return UnknownPolicy(
        f"{name}: {key} is {value!r}, expected {expected}.",
        f"See: abtest policy show {name}",
    )


def _type_wanted(parameter: inspect.Parameter, value: Any) -> str:
    """What the annotation asks for, if the value is something else."""
    annotation = str(parameter.annotation)
    if value is None and "None" in annotation:
        return ""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    kinds = {
        "bool": (isinstance(value, bool), "true or false"),
        "int": (is_number and isinstance(value, int), "a whole number"),
        "float": (is_number and math.isfinite(value), "a number"),
        "str": (isinstance(value, str), "a text"),
    }
    good, wanted = kinds.get(annotation.removesuffix(" | None"), (True, ""))
    return "" if good else wanted


def _range_wanted(key: str, value: Any) -> str:
    """The range of a setting, if the value is outside."""
    if key == "signal":
        return "" if value in SIGNALS else f"one of {', '.join(SIGNALS)}"
    if not isinstance(value, (int, float)):
        return ""
    if key in _AT_LEAST_ONE and value < 1:
        return "1 or more"
    if key in _ABOVE_ZERO and value <= 0:
        return "more than 0"
    if key in (_AT_LEAST_ZERO | _SHARES) and value < 0:
        return "0 or more"
    if key in _BELOW_ONE and value >= 1:
        return "less than 1"
    if key in _SHARES and value > 1:
        return "at most 1"
    return ""
