"""Hold an analysed experiment as plain, frozen, JSON-serialisable records.

`reports.analysis.analyze` makes them; the terminal table, results.json and the HTML report only
read them. No field depends on wall time, worker count or machine, so equal inputs give equal bytes.
Verdicts and checks are codes and numbers; `reports.verdict.words` turns them into sentences.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from reports.assumption_parts import (
    AssumedLift,
    AssumedPoint,
    AssumptionFinding,
    AssumptionGrid,
    Evidence,
    RangeFinding,
    Sensitivity,
)
from reports.interference_parts import Interference, MetricBias
from reports.result_parts import (
    ArmDistribution,
    ArmValue,
    Band,
    Cause,
    DailyLift,
    Decision,
    Estimate,
    Factor,
    FactorLift,
    FactorSplit,
    Finding,
    HealthCheck,
    MetricComparison,
    Novelty,
    Role,
    Scale,
    SegmentInteraction,
    SegmentLift,
    TwoPartLift,
    Verdict,
    VerdictState,
    WrittenVerdict,
)

__all__ = [
    "SCHEMA_VERSION",
    "ArmComparison",
    "ArmDistribution",
    "ArmValue",
    "AssumedLift",
    "AssumedPoint",
    "AssumptionFinding",
    "AssumptionGrid",
    "Band",
    "Cause",
    "DailyLift",
    "Decision",
    "Estimate",
    "Evidence",
    "ExperimentResult",
    "Factor",
    "FactorLift",
    "FactorSplit",
    "Finding",
    "HealthCheck",
    "Interference",
    "MetricBias",
    "MetricComparison",
    "Novelty",
    "RangeFinding",
    "ResultFormatError",
    "Role",
    "Scale",
    "SegmentInteraction",
    "SegmentLift",
    "Sensitivity",
    "TwoPartLift",
    "Verdict",
    "VerdictState",
    "WrittenVerdict",
    "finite",
]


class ResultFormatError(Exception):
    """A results.json that this version cannot read."""


SCHEMA_VERSION = 2
"""Version 1 had the verdict's sentences in place of its codes; it is still read."""


@dataclass(frozen=True)
class ArmComparison:
    """Everything about one treatment against the control.

    ``true_effect`` is the twin design's paired effect on the primary metric, where there is one.
    What comes after it is missing from results of older versions.
    """

    treatment: str
    control: str
    verdict: Verdict
    metrics: tuple[MetricComparison, ...]
    daily: tuple[DailyLift, ...]
    segments: tuple[SegmentLift, ...]
    distributions: tuple[ArmDistribution, ...]
    true_effect: Estimate | None = None
    novelty: Novelty | None = None
    interactions: tuple[SegmentInteraction, ...] = ()
    two_part: TwoPartLift | None = None
    factors: FactorSplit | None = None


@dataclass(frozen=True)
class ExperimentResult:
    """One experiment, ready to be shown.

    ``context`` is free-form, JSON-serialisable facts that the report prints under "reproduce" and
    "for the statistician": command, seeds, versions, data hash, design, users, days, policies
    with their training summaries, environment (built-in world or learned response, its fidelity).
    ``assumptions`` is missing from results of older versions and of runs without ``--assume``,
    ``interference`` from all but online tests with ``--interference``.
    """

    schema_version: int
    title: str
    simulated: bool
    design: Literal["online", "twin", "observed"]
    comparisons: tuple[ArmComparison, ...]
    health: tuple[HealthCheck, ...]
    warnings: tuple[str, ...] = ()
    context: dict[str, Any] = field(default_factory=dict)
    assumptions: Sensitivity | None = None
    interference: Interference | None = None

    def to_json(self, *, compact: bool = False) -> str:
        """Canonical JSON: sorted keys, no NaN (None instead), newline at the end.

        Args:
            compact: Without the spaces that make it readable.
        """
        document = dataclasses.asdict(self)
        if self.interference is None:
            # Results without it are as they were before there was any.
            del document["interference"]
        return (
            json.dumps(
                finite(document),
                ensure_ascii=False,
                allow_nan=False,
                indent=None if compact else 1,
                separators=(",", ":") if compact else None,
                sort_keys=True,
            )
            + "\n"
        )

    @classmethod
    def from_json(cls, text: str) -> ExperimentResult:
        """Read what `to_json` wrote.

        Raises:
            ResultFormatError: not such a document, or one of another schema version.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ResultFormatError(f"results.json is not JSON: {error}.") from None
        if not isinstance(document, dict):
            raise ResultFormatError("results.json does not hold an experiment.")
        version = document.get("schema_version")
        if version not in (1, SCHEMA_VERSION):
            raise ResultFormatError(
                f"results.json has schema version {version!r}, this abtest reads 1 to "
                f"{SCHEMA_VERSION}."
            )
        try:
            if version == 1:
                document = _from_version_1(document)
            result: ExperimentResult = _record(cls, document, "")
        except (TypeError, ValueError) as error:
            raise ResultFormatError(f"results.json is damaged: {error}.") from None
        return result


def _from_version_1(document: dict[str, Any]) -> dict[str, Any]:
    """The same document with the verdicts' sentences set apart from their codes.

    Raises:
        ValueError: a verdict is none.
    """
    comparisons = []
    for number, comparison in enumerate(_expect(list, document.get("comparisons"), "comparisons")):
        where = f"comparisons[{number}]"
        changed = dict(_expect(dict, comparison, where))
        if "verdict" in changed:
            verdict = dict(_expect(dict, changed["verdict"], f"{where}.verdict"))
            state, decision = verdict.pop("state", None), verdict.pop("decision", None)
            changed["verdict"] = {
                "state": state,
                "decision": decision,
                "finding": "written",
                "cause": "written",
                "written": verdict,
            }
        comparisons.append(changed)
    return {**document, "schema_version": SCHEMA_VERSION, "comparisons": comparisons}


def finite(value: Any) -> Any:
    """Plain JSON values with None for every number that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _record(kind: Any, value: Any, where: str) -> Any:
    """Rebuild nested records and tuples from plain JSON values, following the type hints.

    Raises:
        ValueError: naming the field that is unknown, missing or of another type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None:
            return None
        return _record(next(a for a in arguments if a is not type(None)), value, where)
    if origin is tuple:
        items = _expect(list, value, where)
        return tuple(_record(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(items))
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where} is {value!r}, expected one of {', '.join(arguments)}")
        return value
    if origin is dict:
        named = _expect(dict, value, where)
        return {k: _record(arguments[1], v, f"{where}.{k}") for k, v in named.items()}
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, _expect(dict, value, where), where)
    if kind is float:
        return math.nan if value is None else _expect((float, int), value, where)
    return value if kind is Any else _expect(kind, value, where)


def _dataclass(kind: Any, values: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in sorted(set(values) - set(fields)):
        raise ValueError(f"unknown field '{name}'" + (f" in {where}" if where else ""))
    for name, declared in fields.items():
        required = declared.default is declared.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ValueError(f"no field '{name}'" + (f" in {where}" if where else ""))
    prefix = f"{where}." if where else ""
    return kind(**{n: _record(hints[n], v, f"{prefix}{n}") for n, v in values.items()})


def _expect(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where or 'the document'} has a {type(value).__name__} in it")
    return value
