"""What a lift does over the values of an assumption: the code, and the verdict's words for it."""

from __future__ import annotations

import dataclasses
import itertools
from typing import get_args

import pytest

from reports.results import (
    AssumedLift,
    AssumedPoint,
    AssumptionGrid,
    Estimate,
    Evidence,
    ExperimentResult,
    RangeFinding,
    Sensitivity,
)
from reports.verdict import words
from reports.verdict.ranges import judge_range

ARM = "lsvcr"
Effects = dict[float, tuple[float, float]]
"""Value -> lift and half the width of its interval."""


def outcome(lift: float, half: float) -> str:
    return "better" if lift > half else "worse" if lift < -half else "not clear"


def grid(
    effects: Effects,
    *,
    parameter: str = "comment_taste_strength",
    label: str = "strength of comment taste",
    base: float = 1.0,
    evidence: Evidence = "none",
    in_log: bool = True,
    broken: dict[float, tuple[str, ...]] | None = None,
) -> AssumptionGrid:
    points = tuple(
        AssumedPoint(
            value,
            100.0 + value,
            (
                AssumedLift(
                    ARM,
                    Estimate(lift, lift - half, lift + half),
                    outcome(lift, half),
                    (broken or {}).get(value, ()),
                ),
            ),
        )
        for value, (lift, half) in effects.items()
    )
    found = judge_range(ARM, points)
    return AssumptionGrid(parameter, label, base, evidence, "", in_log, points, (found,))


def assumed(
    result: ExperimentResult, *grids: AssumptionGrid, retrained: bool = False
) -> ExperimentResult:
    """The result with a record of these assumptions."""
    record = Sensitivity("comment_watch_time", "Comment watch time", "s per user-day", "up",
                         "relative", 0.95, 4096, 1, retrained, grids)  # fmt: skip
    return dataclasses.replace(result, assumptions=record)


def said(result: ExperimentResult, *grids: AssumptionGrid) -> str:
    changed = assumed(result, *grids)
    return words.sensitivity(changed, changed.comparisons[0])


BETTER, WORSE, OPEN = (0.04, 0.01), (-0.03, 0.01), (0.005, 0.01)


@pytest.mark.parametrize(
    ("effects", "code", "sentence"),
    [
        ({0.2: BETTER, 1.0: BETTER, 2.0: BETTER}, "better everywhere",
         "Better for every assumed strength of comment taste from 0.2 to 2; no published evidence "
         "tells its value."),
        ({0.2: WORSE, 1.0: WORSE}, "worse everywhere",
         "Worse for every assumed strength of comment taste from 0.2 to 1; no published evidence "
         "tells its value."),
        ({0.2: OPEN, 1.0: OPEN}, "unclear everywhere",
         "Not clear for any assumed strength of comment taste from 0.2 to 1; no published evidence "
         "tells its value."),
        ({0.2: OPEN, 0.5: BETTER, 1.0: BETTER, 2.0: BETTER}, "better in part",
         "Depends on the strength of comment taste: better from 0.5 to 2, not clear at 0.2; "
         "no published evidence tells its value."),
        ({0.2: BETTER, 0.5: OPEN, 1.0: BETTER}, "better in part",
         "Depends on the strength of comment taste: better at 0.2 and 1, not clear at 0.5; "
         "no published evidence tells its value."),
        ({0.2: WORSE, 0.5: OPEN, 1.0: OPEN}, "worse in part",
         "Depends on the strength of comment taste: worse at 0.2, not clear from 0.5 to 1; "
         "no published evidence tells its value."),
        ({0.2: WORSE, 0.5: OPEN, 1.0: BETTER, 2.0: BETTER}, "changes sign",
         "Depends on the strength of comment taste: better from 1 to 2, worse at 0.2, not clear "
         "at 0.5; no published evidence tells its value."),
    ],
)  # fmt: skip
def test_every_way_a_lift_can_go_has_a_code_and_a_sentence(
    result: ExperimentResult, effects: Effects, code: str, sentence: str
) -> None:
    made = grid(effects)
    assert made.findings[0].code == code
    assert said(result, made) == sentence


def test_a_finding_names_every_value_once_and_the_ends_of_the_lift() -> None:
    for codes in itertools.product((BETTER, WORSE, OPEN), repeat=3):
        effects = dict(zip((0.2, 1.0, 2.0), codes, strict=True))
        (found,) = grid(effects).findings
        named = [*found.better, *found.worse, *found.unclear]
        assert sorted(named) == [0.2, 1.0, 2.0]
        assert (found.low, found.high) == (min(codes)[0], max(codes)[0])
        assert found.code in get_args(RangeFinding)


def test_without_an_effect_nothing_is_found_and_nothing_said(result: ExperimentResult) -> None:
    points = (AssumedPoint(1.0, float("nan"), (AssumedLift(ARM, None, "no data"),)),)
    found = judge_range(ARM, points)
    assert (found.code, found.low, found.high) == ("no data", None, None)
    silent = AssumptionGrid("x", "x", 1.0, "set", "", True, points, (found,))
    assert said(result, silent) == ""
    assert said(result) == ""


def test_the_sentence_says_what_the_worlds_own_value_rests_on(result: ExperimentResult) -> None:
    effects = {0.5: BETTER, 1.0: BETTER}
    fitted = said(result, grid(effects, evidence="fitted"))
    assert fitted.endswith("; this world's value, 1, is fitted to published figures.")
    chosen = said(result, grid(effects, evidence="set"))
    assert chosen.endswith("; this world's value, 1, was set by reasoning.")


def test_several_assumptions_give_what_holds_what_does_not_and_what_matters_most(
    result: ExperimentResult,
) -> None:
    firm = grid({0.2: BETTER, 1.0: BETTER}, parameter="a", label="first")
    weak = grid({0.2: (-0.02, 0.01), 1.0: BETTER}, parameter="b", label="second")
    assert said(result, firm, weak) == (
        "Better over the whole range of 1 of the 2 assumptions varied. Depends on the second: "
        "better at 1, worse at 0.2. The lift rests most on the second (-2.0 to +4.0 %); no "
        "published evidence tells its value."
    )
    record = assumed(result, firm, weak)
    assert record.assumptions is not None
    order = words.by_spread(record.assumptions, record.comparisons[0])
    assert [g.label for g in order] == ["second", "first"]
    assert said(result, firm, firm).startswith(
        "Better over the whole range of each of the 2 assumptions varied."
    )


def test_an_assumption_whose_lift_is_not_known_matters_least(result: ExperimentResult) -> None:
    still = grid({0.5: BETTER, 1.0: BETTER}, label="still")
    (found,) = still.findings
    unknown = dataclasses.replace(found, low=None, high=None)
    blank = dataclasses.replace(still, label="blank", findings=(unknown,))
    record = assumed(result, blank, grid({0.5: BETTER, 1.0: (0.5, 0.1)}, label="wide"), still)
    assert record.assumptions is not None
    order = words.by_spread(record.assumptions, record.comparisons[0])
    assert [g.label for g in order] == ["wide", "blank", "still"]
    # Where no lift moves at all, none is named as what it rests on.
    assert "rests most" not in said(result, blank, still)
    assert "rests most" not in said(result, still, still)
    assert "rests most on the wide (+4.0 to +50.0 %)" in said(
        result, blank, *record.assumptions.grids
    )


def test_a_guardrail_that_another_assumption_breaks_is_named(result: ExperimentResult) -> None:
    broken = {2.0: ("Hates",), 1.0: ("Play time",)}
    sentence = said(result, grid({1.0: BETTER, 2.0: BETTER}, broken=broken))
    # What is broken in the experiment's own world is the verdict's to say.
    assert sentence.endswith("Guardrail 'Hates' is broken at strength of comment taste 2.")
    assert "Play time" not in sentence


def test_failed_checks_and_a_a_tests_say_nothing_about_assumptions(
    result: ExperimentResult,
) -> None:
    changed = assumed(result, grid({0.5: BETTER, 1.0: BETTER}))
    comparison = changed.comparisons[0]
    for cause in ("check failed", "same policy", "no data"):
        verdict = dataclasses.replace(comparison.verdict, cause=cause)
        assert words.sensitivity(changed, dataclasses.replace(comparison, verdict=verdict)) == ""
    assert words.sensitivity(changed, comparison) != ""


def test_how_it_was_done_says_which_log_the_policies_learned_from(result: ExperimentResult) -> None:
    effects = {0.5: BETTER, 1.0: BETTER}
    depends, free = grid(effects), grid(effects, parameter="o", label="order", in_log=False)

    def how(*grids: AssumptionGrid, retrained: bool = False) -> str:
        record = assumed(result, *grids, retrained=retrained).assumptions
        assert record is not None
        return words.how_assumed(record)

    assert "4,096 people live 1 day" in how(depends)
    assert "as trained on the log of this world: people respond otherwise" in how(depends)
    assert "(it does not depend on the order)" in how(depends, free)
    assert how(free).endswith("does not depend on what was varied.")
    assert how(depends, retrained=True).endswith("trained on the log of each assumed world.")
    assert "--assume-retrain" not in how(depends, retrained=True)
