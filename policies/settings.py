"""Declare policies' settings as dataclasses whose fields carry their ranges, and check values.

A policy names its dataclass in `policies.base.Policy.settings_class`. Field, default and range
stand in one line::

    @dataclass(frozen=True)
    class MySettings(Settings):
        neighbours: int = setting(200, at_least=1)

The default itself is always accepted: 0 may stand for "by size", None for "not given".
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from policies.errors import UnknownPolicy

_RANGE = "range"


@dataclass(frozen=True)
class Range:
    """The values that a setting may have; None does not bound it.

    Attributes:
        at_least, at_most: Bounds that are allowed.
        above, below: Bounds that are not.
        one_of: The only values.
    """

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    one_of: tuple[str, ...] = ()

    def wanted(self, value: Any) -> str:
        """What is expected instead of a value outside of the range; empty for one inside."""
        if self.one_of:
            return "" if value in self.one_of else f"one of {', '.join(self.one_of)}"
        if not isinstance(value, (int, float)):
            return ""
        if self.at_least is not None and value < self.at_least:
            return f"{_plain(self.at_least)} or more"
        if self.above is not None and value <= self.above:
            return f"more than {_plain(self.above)}"
        if self.below is not None and value >= self.below:
            return f"less than {_plain(self.below)}"
        if self.at_most is not None and value > self.at_most:
            return f"at most {_plain(self.at_most)}"
        return ""


def _plain(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:g}"


def setting(
    default: Any,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    one_of: Sequence[str] = (),
    formerly: str = "",
) -> Any:
    """A dataclass field with a default and a range; see `Range`.

    Args:
        default: Always accepted.
        at_least: Lowest value; see `Range`.
        at_most: Highest value.
        above: Every value is above it.
        below: Every value is below it.
        one_of: The only values.
        formerly: An earlier name of the setting; whoever writes it is told the new one.
    """
    allowed = Range(at_least, at_most, above, below, tuple(one_of))
    metadata = {_RANGE: allowed, "formerly": formerly}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def range_of(field: dataclasses.Field[Any]) -> Range:
    """The range of a field made by `setting`; a field of another kind has no bounds."""
    found: Range = field.metadata.get(_RANGE, Range())
    return found


@dataclass(frozen=True)
class Settings:
    """Base of every policy's settings; has none of its own."""

    def disagreement(self) -> tuple[str, str] | None:
        """The name of a setting that does not go with another one, and what is expected of it."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Field to value, for JSON."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


AnySettings = TypeVar("AnySettings", bound=Settings)


def make_settings(
    kind: type[AnySettings], given: Mapping[str, Any], owner: str, *, part: str = ""
) -> AnySettings:
    """Settings with some of their values given.

    Args:
        kind: The dataclass.
        given: Field to value.
        owner: Whose settings they are, for messages: the policy's name.
        part: For messages, the setting of the policy that holds these settings; "" for its own.

    Raises:
        UnknownPolicy: there is no such setting, its value has the wrong type or is out of range, or
            it does not go with another one.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    own = _Owner(owner, part)
    for name, value in given.items():
        if name not in fields:
            raise own.has_no(name, fields)
        field = fields[name]
        if field.default is not dataclasses.MISSING and _same(value, field.default):
            continue
        expected = _type_wanted(str(field.type), value) or range_of(field).wanted(value)
        if expected:
            raise own.refuses(name, value, expected)
    settings = kind(**given)
    found = settings.disagreement()
    if found is not None:
        raise own.refuses(found[0], getattr(settings, found[0]), found[1])
    return settings


def _same(value: Any, default: Any) -> bool:
    # True == 1.
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


@dataclass(frozen=True)
class _Owner:
    """Who has the settings, as messages name it."""

    name: str
    part: str

    def refuses(self, setting: str, value: Any, expected: str) -> UnknownPolicy:
        prefix = f"{self.part}." if self.part else ""
        return self._error(
            f"{self.name}: {prefix}{setting} is {value!r}, expected {expected}.", setting
        )

    def has_no(self, setting: str, fields: Mapping[str, dataclasses.Field[Any]]) -> UnknownPolicy:
        """A setting's former name leads to its present one; a misspelt one to the nearest."""
        guess = ""
        close = difflib.get_close_matches(setting, list(fields), n=1)
        if close:
            guess = f" Did you mean '{close[0]}'?"
        for name, field in fields.items():
            if field.metadata.get("formerly") == setting:
                guess = f" It is called '{name}' now."
        where = f" in {self.part}" if self.part else ""
        return self._error(f"{self.name} has no setting '{setting}'{where}.{guess}", setting)

    def _error(self, problem: str, setting: str) -> UnknownPolicy:
        error = UnknownPolicy(problem, f"See: abtest policy show {self.name}")
        error.setting = setting
        return error


def _type_wanted(annotation: str, value: Any) -> str:
    """What a field's annotation asks for, if the value is something else."""
    if value is None and "None" in annotation:
        return ""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    kinds = {
        "bool": (isinstance(value, bool), "true or false"),
        "int": (is_number and isinstance(value, int), "a whole number"),
        "float": (is_number and math.isfinite(value), "a number"),
        "str": (isinstance(value, str), "a text"),
    }
    base = "dict" if annotation.startswith(("dict", "Mapping")) else ""
    if base:
        return "" if isinstance(value, dict) else "a table"
    good, wanted = kinds.get(annotation.removesuffix(" | None"), (True, ""))
    return "" if good else wanted
