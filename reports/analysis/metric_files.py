"""Read metric definitions from a TOML file or the command line.

A file has a table per metric::

    [metrics.revenue]
    numerator = "revenue"           # a column, or several that are added up
    unit = "EUR per user"
    role = "primary"                # primary, secondary (default) or guardrail
    cap = 0.99                      # values are capped at this quantile of all users

    [metrics.crash_rate]
    label = "Crashes per session"
    numerator = ["crashes", "hangs"]
    denominator = "sessions"
    percent = true                  # shown as a percentage
    scale = 1.0                     # multiplies the numerator
    direction = "down"              # less is better
    role = "guardrail"
    margin = "2%"                   # may not get worse by more

    [metrics.profit]
    numerator = "profit"
    scale = "absolute"              # effects are differences: the control may be zero or negative
    factor = 0.01                   # multiplies the numerator, where scale is not a number
    role = "guardrail"
    margin = 0.5                    # in the metric's unit

On the command line ``revenue`` is the mean of a column and ``ctr=clicks/impressions`` a ratio of
sums; ``likes+replies`` adds columns up.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from reports.plan import AnalysisPlan, Metric, PlanError, metric, parse_guardrail
from reports.results import Role

ROLES = ("primary", "secondary", "guardrail")
DIRECTIONS = ("up", "down")
SCALES = ("relative", "absolute")
_NO_TEXT = "it is not UTF-8 text"
LARGEST_FACTOR = 1e15
"""Of a numerator; products with the largest values of a table stay far from overflow."""


@dataclasses.dataclass(frozen=True)
class Declared:
    """A metric and what it is for.

    Attributes:
        metric: Its definition.
        role: What it is for.
        margin: A guardrail's, above zero: a share of the control, or a size.
        in_units: Whether the margin is a size in the metric's unit.
    """

    metric: Metric
    role: Role = "secondary"
    margin: float | None = None
    in_units: bool = False


class _Margin(NamedTuple):
    """As it was written."""

    size: float
    percent: bool


def read_metrics(path: Path, *, per: str = "user") -> list[Declared]:
    """The metrics of a TOML file, in its order.

    Args:
        path: The file.
        per: What a mean is per, where the file gives no unit.

    Raises:
        PlanError: naming file, line and key of what cannot be understood.
    """
    if path.exists() and not path.is_file():
        raise PlanError(f"no metrics in {path}: it is no file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = str(error.strerror).lower() if isinstance(error, OSError) else _NO_TEXT
        raise PlanError(f"no metrics in {path}: {reason}.") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path} is not TOML: {error}.") from None
    except RecursionError:
        raise PlanError(f"{path}: values are nested too deeply.") from None
    source = _Source(path, text)
    for key in document:
        if key != "metrics":
            source.fail(key, f"unknown key '{key}'.{_nearest(key, ('metrics',))}")
    tables = document.get("metrics")
    if not isinstance(tables, dict) or not tables:
        raise PlanError(f"{path} declares no metrics. Example: [metrics.revenue]")
    declared = [_declared(source, name, table, per) for name, table in tables.items()]
    primaries = [d.metric.name for d in declared if d.role == "primary"]
    if len(primaries) > 1:
        raise PlanError(
            f"{path} has {len(primaries)} primary metrics ({', '.join(primaries)}); one decides. "
            'Give the others: role = "secondary"'
        )
    return declared


def parse_metric(
    text: str,
    columns: Iterable[str],
    *,
    per: str = "user",
    built_in: Mapping[str, Metric] | None = None,
) -> Metric:
    """A metric of the command line: ``revenue``, ``clicks/impressions``, or a built-in one.

    ``ctr=clicks/impressions`` gives it a name of its own.

    Args:
        text: As given.
        columns: Of the table; a built-in metric is taken only if its columns are there.
        per: What a mean is per.
        built_in: Metrics known by name; None for none.

    Raises:
        PlanError: unreadable.
    """
    known = list(columns)
    name, separator, formula = (part.strip() for part in text.partition("="))
    named = (built_in or {}).get(name)
    if not separator and name not in known and named is not None:
        needed = {*named.numerator, *named.denominator}
        if needed <= set(known):
            return named
    over, slash, under = (formula or name).partition("/")
    numerator, denominator = _summands(over), _summands(under)
    well_formed = name and numerator and (denominator or not slash) and "/" not in under
    if not well_formed:
        raise PlanError(
            f"metric '{text}' cannot be read. Examples: revenue, ctr=clicks/impressions"
        )
    return Metric(name, _label(name), _unit(denominator, per), numerator, denominator)


def build_observed_plan(
    declared: Iterable[Declared],
    *,
    primary: str | None = None,
    guardrails: Iterable[str] = (),
    min_effect: float = 0.0,
    min_effect_is_share: bool = True,
    absolute: Iterable[str] = (),
    **settings: Any,
) -> AnalysisPlan:
    """The plan of a real experiment.

    Args:
        declared: Its metrics.
        primary: The metric that decides; default: the declared one, else the first that is no
            guardrail.
        guardrails: ``METRIC=-1%``; with a plus sign, ``METRIC=+1%``, less is better. Without
            ``%`` it is a fraction, or, of a metric on the absolute scale, in the metric's unit.
        min_effect: As a fraction, or in the unit of a primary metric on the absolute scale.
        min_effect_is_share: Whether it was given as a share of the control (with ``%``).
        absolute: Metrics on the absolute scale, beside those declared so.
        settings: Further fields of `AnalysisPlan`.

    Raises:
        PlanError: no metrics, a name twice, or an unknown one.
    """
    found = list(declared)
    metrics: dict[str, Metric] = {}
    for one in found:
        if one.metric.name in metrics:
            raise PlanError(f"metric '{one.metric.name}' is declared twice. Rename one of them")
        metrics[one.metric.name] = one.metric
    for name in absolute:
        metrics[name] = dataclasses.replace(metric(name, metrics), lift="absolute")
    margins = {d.metric.name: d.margin for d in found if d.role == "guardrail"}
    in_units = {d.metric.name for d in found if d.in_units}
    for text in guardrails:
        name, margin = parse_guardrail(text)
        chosen = metric(name, metrics)
        if "=+" in text.replace(" ", ""):
            metrics[name] = dataclasses.replace(chosen, direction="down")
        margins[name] = abs(margin)
        as_size = chosen.lift == "absolute" and "%" not in text
        in_units = in_units | {name} if as_size else in_units - {name}
    if primary is None:
        ordered = sorted(found, key=lambda d: d.role != "primary")
        names = [d.metric.name for d in ordered if d.metric.name not in margins]
        if not names:
            raise PlanError("no metric decides: all are guardrails. Add: --metric NAME")
        primary = names[0]
    metric(primary, metrics)
    margins.pop(primary, None)
    return AnalysisPlan(
        primary=primary,
        secondary=tuple(n for n in metrics if n != primary and n not in margins),
        guardrails={name: margin for name, margin in margins.items() if margin is not None},
        min_effect=min_effect,
        metrics=metrics,
        select=True,
        in_units=frozenset(in_units - {primary}),
        min_effect_in_units=metrics[primary].lift == "absolute" and not min_effect_is_share,
        **settings,
    )


class _Source:
    """A file, for messages that say where."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def fail(self, key: str, problem: str, table: str = "") -> NoReturn:
        """Raise a PlanError that names the line of a key, if it can be found."""
        start = self._line(rf"\s*\[\s*metrics\s*\.\s*[\"']?{re.escape(table)}\W", 0) if table else 0
        at = self._line(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", start or 0)
        at = at or start or self._line(rf"\s*\[\s*[\"']?{re.escape(key)}\W", 0)
        where = f"{self._path} line {at}" if at else str(self._path)
        about = f"metric '{table}': " if table else ""
        raise PlanError(f"{where}: {about}{problem} Nothing was analysed")

    def _line(self, pattern: str, after: int) -> int:
        for number, line in enumerate(self._lines[after:], after + 1):
            if re.match(pattern, line):
                return number
        return 0


def _declared(source: _Source, name: str, table: Any, per: str) -> Declared:
    if not isinstance(table, dict):
        source.fail(name, f"'{name}' is not a table. Write: [metrics.{name}]")

    def fail(key: str, problem: str) -> NoReturn:
        source.fail(key, problem, name)

    for key in table:
        if key not in _READERS:
            fail(key, f"unknown key '{key}'.{_nearest(key, _READERS)}")
    values = {}
    for key, value in table.items():
        expected, read = _READERS[key]
        try:
            values[key] = read(value)
        except (TypeError, ValueError, OverflowError):
            fail(key, f"{key} is {value!r}, expected {expected}.")
    if "numerator" not in values:
        fail("numerator", "it has no numerator: the column, or columns, that it adds up.")
    role, margin = values.pop("role", "secondary"), values.pop("margin", None)
    if role == "guardrail" and margin is None:
        fail("role", 'a guardrail needs a margin, as margin = "1%".')
    if role != "guardrail" and margin is not None:
        fail("margin", f"a {role} metric has no margin.")
    denominator = values.get("denominator", ())
    if denominator and "cap" in values:
        fail("cap", "only means can be capped, and this is a ratio.")
    usual = "%" if values.get("percent") else _unit(denominator, per)
    if isinstance(values.get("scale"), str):
        values["lift"] = values.pop("scale")
    if "factor" in values:
        if "scale" in values:
            fail("factor", "scale and factor both multiply the numerator; give one.")
        values["scale"] = values.pop("factor")
    chosen = Metric(name, **{"label": _label(name), "unit": usual, **values})
    if margin is None:
        return Declared(chosen, role)
    in_units = chosen.lift == "absolute" and not margin.percent
    return Declared(chosen, role, margin.size, in_units)


def _columns(value: Any) -> tuple[str, ...]:
    columns = (value,) if isinstance(value, str) else tuple(value)
    if not columns or not all(isinstance(column, str) and column for column in columns):
        raise ValueError
    return columns


def _margin(value: Any) -> _Margin:
    if isinstance(value, bool):
        raise ValueError
    try:
        return _Margin(abs(parse_guardrail(f"margin={value}")[1]), "%" in str(value))
    except PlanError:
        raise ValueError from None


def _scale(value: Any) -> float | str:
    return value if value in SCALES else _positive(value)


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return read


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _positive(value: Any) -> float:
    if isinstance(value, bool) or not 1.0 / LARGEST_FACTOR <= float(value) <= LARGEST_FACTOR:
        raise ValueError
    return float(value)


def _quantile(value: Any) -> float:
    if not 0.5 <= _positive(value) < 1.0:
        raise ValueError
    return float(value)


_READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "label": ("a text", _text),
    "unit": ("a text", _text),
    "numerator": ("a column or a list of columns", _columns),
    "denominator": ("a column or a list of columns", _columns),
    "scale": ("'absolute', 'relative' or a number from 1e-15 to 1e15", _scale),
    "factor": ("a number from 1e-15 to 1e15", _positive),
    "direction": ("'up' or 'down'", _one_of(DIRECTIONS)),
    "percent": ("true or false", _flag),
    "cap": ("a quantile from 0.5 to below 1, as 0.99", _quantile),
    "role": ("'primary', 'secondary' or 'guardrail'", _one_of(ROLES)),
    "margin": ("a percentage, as '1%', or a size in the unit of an absolute metric", _margin),
}


def _summands(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split("+"))
    return parts if all(parts) else ()


def _label(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _unit(denominator: tuple[str, ...], per: str) -> str:
    return f"per {_label(' + '.join(denominator)).lower()}" if denominator else f"per {per}"


def _nearest(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(known)}."
