"""Write an offline evaluation as one JSON document or as rows for a spreadsheet."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from abtest.errors import UsageError
from abtest.evaluate.asked import Protocol
from abtest.evaluate.statistics import Difference, Mean
from abtest.files import write_text
from policies.evaluation.evaluate import Task

BIASED = (
    "biased: metrics over sampled candidates need not order policies as full ranking does "
    "(Krichene & Rendle, KDD 2020); for comparison with papers only"
)
SUFFIXES = (".json", ".csv")


@dataclass(frozen=True)
class PolicyScores:
    """One row of a task's table.

    Attributes:
        label: Name of the row.
        policy: Name or ``file.py:Class``.
        settings: Given to its constructor.
        metrics: Metric to mean and interval.
        coverage: Share of the items offered that stand in somebody's first ten, mean over seeds.
        coverage_error: Its standard error over seeds; None for one seed.
        coverage_cutoff: Ten.
        differences: Metric to the paired difference from the reference; empty for itself.
        training: The policy's facts about its training, one per seed.
    """

    label: str
    policy: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, Mean]
    coverage: float
    coverage_error: float | None
    coverage_cutoff: int
    differences: Mapping[str, Difference]
    training: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class TaskResult:
    """One task.

    Attributes:
        task: "videos" or "comments".
        split: "last" or "time".
        split_ms: Moment of a time split.
        candidates: Size of the sample, None for full ranking.
        candidates_note: What a sample does to the figures; empty for full ranking.
        training_seeds: As given.
        seed: Of the sample and the bootstrap.
        signal: Events that make the videos ranked.
        problem: Why there are no figures; empty if there are.
        cases, people, items: Rankings made, for how many people, over how many distinct candidates.
        competing: Candidates per ranking, on average.
        not_asked: Events or people that are not evaluated, by reason.
        left_out: Policies without a row, a sentence each.
        reference: Label of the policy that the others are compared with.
        policies: The rows.
    """

    task: Task
    split: str
    split_ms: int | None
    candidates: int | None
    candidates_note: str
    training_seeds: tuple[int, ...]
    seed: int
    signal: str
    problem: str = ""
    cases: int = 0
    people: int = 0
    items: int = 0
    competing: float = 0.0
    not_asked: Mapping[str, int] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    reference: str = ""
    policies: Sequence[PolicyScores] = ()

    @classmethod
    def of(
        cls, task: Task, protocol: Protocol, split_ms: int | None, left_out: Sequence[str]
    ) -> TaskResult:
        """Before anything is evaluated."""
        return cls(
            task=task,
            split=protocol.split,
            split_ms=split_ms,
            candidates=protocol.candidates,
            candidates_note="" if protocol.candidates is None else BIASED,
            training_seeds=protocol.seeds,
            seed=protocol.seed,
            signal=protocol.signal,
            left_out=tuple(left_out),
        )

    def without(self, problem: str, left_out: Sequence[str] | None = None) -> TaskResult:
        """No figures, and why."""
        kept = self.left_out if left_out is None else tuple(left_out)
        return dataclasses.replace(self, problem=problem, left_out=kept)

    def with_scores(
        self,
        policies: Sequence[PolicyScores],
        *,
        cases: int,
        people: int,
        items: int,
        competing: float,
        not_asked: Mapping[str, int],
        left_out: Sequence[str],
    ) -> TaskResult:
        """The figures."""
        return dataclasses.replace(
            self,
            cases=cases,
            people=people,
            items=items,
            competing=competing,
            not_asked=not_asked,
            left_out=tuple(left_out),
            reference=policies[0].label,
            policies=tuple(policies),
        )

    def protocol_sentence(self) -> str:
        """What was ranked, and how."""
        what = f"{self.signal} video" if self.task == "videos" else "visit of a comment section"
        if self.split_ms is None:
            asked = f"The last new {what} of {self.people:,} people"
        else:
            when = datetime.fromtimestamp(self.split_ms / 1000, UTC)
            asked = (
                f"{self.cases:,} {what}s of {self.people:,} people from "
                f"{when:%Y-%m-%d %H:%M} UTC on"
            ).replace("visit of a comment sections", "visits of a comment section")
        pool = "all" if self.candidates is None else f"{self.candidates:,} sampled"
        if self.task == "videos":
            among = f"among {pool} videos ({self.items:,} were candidates)"
        elif self.candidates is None:
            among = f"among the comments that stood there ({self.competing:.1f} on average)"
        else:
            among = (
                f"among up to {self.candidates:,} comments sampled from the section "
                f"({self.competing:.1f} on average)"
            )
        count = len(self.training_seeds)
        seeds = f"{count} training seed{'s' if count > 1 else ''}"
        return f"{asked}, {among}; seen ones removed, ties against the policy; {seeds}."


def document(results: Sequence[TaskResult]) -> str:
    """The JSON document of ``--json`` and ``--output FILE.json``."""
    tasks = [{**dataclasses.asdict(r), "protocol": r.protocol_sentence()} for r in results]
    return json.dumps({"evaluation": tasks}, indent=1, allow_nan=False) + "\n"


def rows(results: Sequence[TaskResult]) -> str:
    """CSV, a row per task, policy and metric."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for record in records(results):
        writer.writerow({k: v for k, v in record.items() if v is not None})
    return buffer.getvalue()


COLUMNS = (
    "task",
    "split",
    "candidates",
    "candidates_note",
    "policy",
    "label",
    "seeds",
    "people",
    "metric",
    "value",
    "low",
    "high",
    "people_error",
    "seeds_error",
    "total_error",
    "reference",
    "difference",
    "difference_low",
    "difference_high",
    "p_value",
    "p_adjusted",
)


def records(results: Sequence[TaskResult]) -> list[dict[str, Any]]:
    """A dict of `COLUMNS` per task, policy and metric; None where there is nothing."""
    found = []
    for result in results:
        for scores in result.policies:
            common = {
                **dict.fromkeys(COLUMNS),
                "task": result.task,
                "split": result.split,
                "candidates": str(result.candidates or "all"),
                "candidates_note": result.candidates_note,
                "policy": scores.policy,
                "label": scores.label,
                "seeds": len(result.training_seeds),
                "people": result.people,
                "reference": result.reference,
            }
            for name, mean in scores.metrics.items():
                row = {**common, "metric": name, **dataclasses.asdict(mean)}
                compared = scores.differences.get(name)
                if compared is not None:
                    row |= {
                        "difference": compared.value,
                        "difference_low": compared.low,
                        "difference_high": compared.high,
                        "p_value": compared.p_value,
                        "p_adjusted": compared.p_adjusted,
                    }
                found.append(row)
            found.append(
                {
                    **common,
                    "metric": f"coverage@{scores.coverage_cutoff}",
                    "value": scores.coverage,
                    "seeds_error": scores.coverage_error,
                }
            )
    return found


def check_output(path: Path) -> None:
    """Refuse a file that could not be written, before hours of training.

    Raises:
        UsageError: unknown kind of file, or no such folder.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"--output is {path}, expected a name that ends in {' or '.join(SUFFIXES)}."
        )
    if path.is_dir():
        raise UsageError(f"--output is {path}, which is a folder.", "Give the name of a file")
    if not path.parent.is_dir():
        raise UsageError(f"no folder at {path.parent} to write {path.name} into.")


def write_output(path: Path, results: Sequence[TaskResult]) -> None:
    """Write the results; the file is there whole or not at all."""
    write_text(path, document(results) if path.suffix == ".json" else rows(results))
