"""Print an offline evaluation: per task the metrics, their intervals and the differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from abtest.evaluate.results import TaskResult
from abtest.tables import table, wrapped

SHOWN = ("Recall@10", "NDCG@10")
COMPARED = "NDCG@10"
DWELL_R = "dwell_r"


def evaluation_tables(results: Sequence[TaskResult]) -> str:
    """All tasks, readable at 80 columns."""
    return "\n\n".join(_task(result) for result in results)


def _task(result: TaskResult) -> str:
    lines = [result.task.capitalize()]
    if result.problem:
        lines += wrapped(f"No table: {result.problem}")
    else:
        lines += wrapped(result.protocol_sentence())
        if result.candidates_note:
            lines += wrapped(f"SAMPLED CANDIDATES, {result.candidates_note}.")
        short = _short_labels([p.label for p in result.policies])
        lines += ["", _metrics(result, short), "", *_intervals(result, short)]
        if len(result.policies) > 1:
            lines += ["", *_differences(result, short)]
        lines += [f"{s}  {label}" for label, s in short.items() if s != label]
    notes = [f"{reason}: {count:,}" for reason, count in result.not_asked.items()]
    if notes:
        lines += ["", *wrapped(f"Not asked for: {'; '.join(notes)}.")]
    for sentence in () if result.problem else result.left_out:
        lines += wrapped(f"note: {sentence}; left out of this table")
    return "\n".join(lines)


def metric_cells(
    result: TaskResult, short: Mapping[str, str]
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Header and rows: every metric of every policy."""
    names = [n for n in result.policies[0].metrics if all(n in p.metrics for p in result.policies)]
    covered = f"cov@{result.policies[0].coverage_cutoff}"
    header = ["policy", *[_brief(n) for n in names], covered]
    body = [
        (
            short[p.label],
            *[f"{p.metrics[n].value:.4f}" for n in names],
            f"{p.coverage:.3f}",
        )
        for p in result.policies
    ]
    return header, body


def _metrics(result: TaskResult, short: Mapping[str, str]) -> str:
    header, body = metric_cells(result, short)
    covered = header[-1]
    key = f"R: Recall, N: NDCG, cov: coverage, {covered.split('@')[1]} best of each list"
    if DWELL_R in header:
        key += ";\ndwell_r: correlation of score and log dwell among comments seen, within visits"
    return table(body, header=header, right=range(1, len(header))) + f"\n({key})"


def interval_cells(
    result: TaskResult, short: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the two usual metrics with their intervals and standard errors."""
    several = len(result.training_seeds) > 1
    header = ["policy"]
    shown = _shown(result)
    for name in shown:
        header += [_brief(name), "95 %"]
    header += ["people", "seeds"] if several else ["people"]
    body = []
    for p in result.policies:
        row = [short[p.label]]
        for name in shown:
            mean = p.metrics[name]
            row += [f"{mean.value:.4f}", _span(mean.low, mean.high, "{:.3f}", "-")]
        last = p.metrics[shown[-1]]
        row.append(_number(last.people_error))
        if several:
            row.append(_number(last.seeds_error))
        body.append(row)
    return header, body


def _intervals(result: TaskResult, short: Mapping[str, str]) -> list[str]:
    header, body = interval_cells(result, short)
    shown, several = _shown(result), len(result.training_seeds) > 1
    about = "people and training seeds" if several else "people"
    text = table(body, header=header, right=range(1, len(header)))
    over = "people, and over seeds" if several else "people"
    return [
        f"95 % intervals over {about}; {shown[-1]}'s standard error over {over}:",
        text,
    ]


def _shown(result: TaskResult) -> tuple[str, str]:
    """Metrics with intervals: the two usual ones, or NDCG and dwell_r where that is known."""
    known = all(DWELL_R in p.metrics for p in result.policies)
    return (COMPARED, DWELL_R) if known else SHOWN


def _differences(result: TaskResult, short: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for name in (COMPARED, DWELL_R):
        lines += _differences_in(name, result, short)
    return lines


def difference_cells(
    name: str, result: TaskResult, short: Mapping[str, str]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows: differences from the first policy in one metric; no rows where none."""
    body: list[tuple[str, ...]] = []
    for p in result.policies:
        if name not in p.differences:
            continue
        found = p.differences[name]
        body.append(
            (
                short[p.label],
                f"{found.value:+.4f}",
                _span(found.low, found.high, "{:+.4f}"),
                _p(found.p_value),
                _p(found.p_adjusted),
            )
        )
    return ("policy", f"{name} difference", "interval", "p", "p (Holm)"), body


def _differences_in(name: str, result: TaskResult, short: Mapping[str, str]) -> list[str]:
    header, body = difference_cells(name, result, short)
    if not body:
        return []
    return [
        f"Compared with {result.reference}, person by person (intervals agree with Holm's p):",
        table(body, header=header, right=range(1, len(header))),
    ]


def _short_labels(labels: Sequence[str]) -> dict[str, str]:
    """At most 22 characters each; those that would look the same are numbered."""
    short = {label: label if len(label) <= 22 else ".." + label[-20:] for label in labels}
    alike = [label for label in labels if list(short.values()).count(short[label]) > 1]
    return short | {label: f"{n}: ..{label[-17:]}" for n, label in enumerate(alike, start=1)}


def _brief(name: str) -> str:
    return name.replace("Recall", "R").replace("NDCG", "N")


def _span(low: float | None, high: float | None, style: str, between: str = " to ") -> str:
    if low is None or high is None:
        return "-"
    return f"{style.format(low)}{between}{style.format(high)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
