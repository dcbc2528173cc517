"""Show the free-form context of an experiment, from policies or the world, as tables.

Nothing here trusts the shape of what it is given; what it does not know, it lists as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import formats
from reports.results import ExperimentResult

_MAX_ROWS = 120
_MAX_TEXT = 400
_MAX_ITEMS = 24
_BINARY = (
    ("rows", "test rows"),
    ("observed_rate", "observed"),
    ("predicted_rate", "predicted"),
    ("auc", "held-out AUC"),
    ("calibration_error", "calibration error"),
    ("brier", "Brier score"),
    ("brier_base_rate", "Brier of the base rate"),
)
_QUANTILE = (
    ("observed", "observed, ms"),
    ("predicted", "predicted, ms"),
    ("pinball", "quantile loss, ms"),
    ("pinball_constant", "loss of a constant, ms"),
    ("share_below", "share below"),
)


@dataclass(frozen=True)
class Table:
    """A table of text; the first column heads the rows."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def environment(result: ExperimentResult) -> list[Table]:
    """What the people were simulated with, and how far that can be believed."""
    facts = result.context.get("environment")
    if not isinstance(facts, Mapping):
        return []
    rest = {k: v for k, v in facts.items() if k not in ("fidelity", "quality", "reactions")}
    tables = [_listed("Environment", rest)]
    tables += _fidelity(facts.get("fidelity"))
    quality = facts.get("quality")
    if isinstance(quality, Mapping):
        tables += _quality(quality)
    return [table for table in tables if table.rows]


def policies(result: ExperimentResult) -> list[Table]:
    """The training summary of each arm's policy."""
    arms = result.context.get("policies")
    if not isinstance(arms, Mapping):
        return []
    order = [arm for c in result.comparisons for arm in (c.control, c.treatment)]
    known = [(arm, arms[arm]) for arm in dict.fromkeys(order) if arm in arms]
    others = [(arm, facts) for arm, facts in _items(arms) if arm not in order]
    tables = [_listed(f"Policy of arm {arm}", facts) for arm, facts in known + others]
    return [table for table in tables if table.rows]


def reproduction(result: ExperimentResult) -> Table:
    """Everything else in the context: seeds, versions, data hash."""
    apart = ("command", "configuration", "environment", "policies", "replay")
    rest = {key: value for key, value in result.context.items() if key not in apart}
    return _listed("What it takes to get the same result", rest)


def _items(facts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Sorted by name: a result read from JSON has another order than a fresh one."""
    return sorted(facts.items(), key=lambda item: str(item[0]))


def _listed(caption: str, facts: Any) -> Table:
    rows: list[tuple[str, str]] = []
    for row in _flatten("", facts):
        if len(rows) == _MAX_ROWS:
            rows.append(("...", "more in the JSON below"))
            break
        rows.append(row)
    return Table(caption, ("Name", "Value"), tuple(rows))


def _flatten(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Nested facts as (dotted name, text); short lists of plain values stay on one line."""
    if isinstance(value, Mapping):
        for key, item in _items(value):
            yield from _flatten(f"{name}.{key}" if name else str(key), item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if any(isinstance(item, Mapping | list | tuple) for item in value):
            for index, item in enumerate(value):
                yield from _flatten(f"{name}[{index}]", item)
        elif value:
            texts = [_text(item) for item in value[:_MAX_ITEMS]]
            more = [f"... ({len(value)} values)"] if len(value) > _MAX_ITEMS else []
            yield name, ", ".join(texts + more)
    else:
        yield name, _text(value)


def _text(value: Any) -> str:
    if value is None:
        return formats.MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return formats.trimmed(value)
    text = formats.plain(str(value).replace("\n", " "))
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."


def _fidelity(rows: Any) -> list[Table]:
    """Statistics of the built-in world beside published ones."""
    if not isinstance(rows, list):
        return []
    found = [
        (
            _text(row.get("label", row.get("name"))),
            *(_cell(row.get(key)) for key in ("simulated", "published", "ratio")),
            _text(row.get("role")),
            _text(row.get("verdict")),
        )
        for row in rows
        if isinstance(row, Mapping)
    ]
    columns = ("Statistic", "simulated", "published", "ratio", "role", "verdict")
    return [Table("The simulated log beside published statistics", columns, tuple(found))]


def _quality(quality: Mapping[str, Any]) -> list[Table]:
    """Held-out quality of a response model learned from a log."""
    tables: list[Table] = []
    binary = quality.get("binary")
    if isinstance(binary, Mapping):
        rows = [
            (_text(name), *_outcome_cells(row))
            for name, row in _items(binary)
            if isinstance(row, Mapping)
        ]
        columns = ("Outcome", "model", *(label for _, label in _BINARY))
        tables.append(Table("What people do: held-out quality", columns, tuple(rows)))
    quantiles = quality.get("quantiles")
    if isinstance(quantiles, Mapping):
        found = [
            (f"{_text(name)}, {_text(level)}", *(_cell(row.get(key)) for key, _ in _QUANTILE))
            for name, levels in _items(quantiles)
            if isinstance(levels, Mapping)
            for level, row in _items(levels)
            if isinstance(row, Mapping)
        ]
        columns = ("Quantile", *(label for _, label in _QUANTILE))
        tables.append(Table("How long they stay: held-out quantiles", columns, tuple(found)))
    segments = quality.get("segments")
    if isinstance(segments, Mapping) and segments:
        tables.append(_segments(segments))
    compared = quality.get("two_sample")
    if isinstance(compared, Mapping):
        tables.append(_two_sample(compared))
    shown = ("binary", "quantiles", "segments", "two_sample")
    rest = {k: v for k, v in quality.items() if k not in shown}
    tables.append(_listed("How the response model was fitted", rest))
    return tables


def _segments(segments: Mapping[str, Any]) -> Table:
    """Held-out clicks and quantiles by how active people are."""
    rows = []
    for name, facts in _items(segments):
        if not isinstance(facts, Mapping):
            continue
        parts: list[tuple[str, Any]] = [("click", facts.get("click"))]
        for key in ("play_time_ms", "comment_stay_ms_of_opened"):
            levels = facts.get(key)
            if isinstance(levels, Mapping):
                parts += [(f"{key}, {_text(level)}", row) for level, row in _items(levels)]
        rows += [
            (f"{_text(name)}: {label}", *(_cell(row.get(k)) for k in ("observed", "predicted")))
            for label, row in parts
            if isinstance(row, Mapping)
        ]
    columns = ("Activity", "observed", "predicted")
    return Table("By how active people are: held out", columns, tuple(rows))


def _two_sample(facts: Mapping[str, Any]) -> Table:
    """How well a classifier tells simulated from logged sessions, and what alone tells most."""
    told = [
        (label, _cell(area.get("auc")), f"{_cell(area.get('low'))} to {_cell(area.get('high'))}")
        for label, area in (
            ("what people do", facts),
            ("and the pauses between videos", facts.get("with_pauses")),
        )
        if isinstance(area, Mapping) and "auc" in area
    ]
    alone = facts.get("features")
    rows = [(label, auc, limits, "", "") for label, auc, limits in told]
    rows += [
        (f"{_text(row.get('name'))} alone", _cell(row.get("auc")), "",
         _cell(row.get("real")), _cell(row.get("simulated")))
        for row in (alone if isinstance(alone, list) else [])
        if isinstance(row, Mapping)
    ]  # fmt: skip
    caption = "Can a classifier tell simulated sessions from the log's? An AUC of 0.5 is guessing"
    columns = ("What it sees", "AUC", "95 % interval", "mean in the log", "mean simulated")
    return Table(caption, columns, tuple(rows))


def _outcome_cells(row: Mapping[str, Any]) -> list[str]:
    if row.get("learned") is False:
        constant = f"constant {_cell(row.get('constant_probability'))}"
        return [constant, *[formats.MISSING] * len(_BINARY)]
    return ["learned", *(_cell(row.get(key)) for key, _ in _BINARY)]


def _cell(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return formats.count(value)
    if isinstance(value, float) and math.isfinite(value):
        return formats.trimmed(value)
    return formats.MISSING if isinstance(value, float) else _text(value)
