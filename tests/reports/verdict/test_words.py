"""What the sentences say of given facts, word by word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reports.result_parts import WrittenVerdict
from reports.results import (
    ArmComparison,
    Estimate,
    ExperimentResult,
    Factor,
    FactorSplit,
    HealthCheck,
    MetricComparison,
    Novelty,
    SegmentInteraction,
    SegmentLift,
    Verdict,
)
from reports.verdict.words import checks, metrics, segments, summary, verdicts
from tests.reports.verdict.test_decision import row

TIME = row("time", "better", Estimate(0.05, 0.02, 0.08))
GUARD = row("guard", "within margin", Estimate(0.01, -0.01, 0.03), margin=0.05)
VERDICT = Verdict("better", "ship", "better", "better", 0.01, (), (), ())  # type: ignore[arg-type]


def compared(*rows: MetricComparison, **more: Any) -> ArmComparison:
    return ArmComparison("b", "a", VERDICT, rows, (), more.pop("segments", ()), (), **more)


def result(comparison: ArmComparison, design: Any = "online", **more: Any) -> ExperimentResult:
    return ExperimentResult(2, "b against a", True, design, (comparison,), (), **more)


def test_people_are_pairs_only_where_everyone_lived_through_both_arms() -> None:
    said = {
        design: [summary.people(result(compared(TIME), design), n) for n in (1, 2, 12_345)]
        for design in ("online", "observed", "twin")
    }
    users = ["1 user", "2 users", "12,345 users"]
    assert said == {
        "online": users, "observed": users, "twin": ["1 pair", "2 pairs", "12,345 pairs"],
    }  # fmt: skip
    adjusted = replace(TIME, control=replace(TIME.control, adjusted=9.9))
    plain = replace(TIME, control=replace(TIME.control, adjusted=TIME.control.value))
    assert summary.adjusted(result(compared(TIME), "twin"), TIME) == "paired"
    for metric, word in ((TIME, ""), (plain, ""), (adjusted, "adjusted")):
        assert summary.adjusted(result(compared(TIME)), metric) == word
        note = summary.adjustment_note(result(compared(TIME)), metric)
        assert note.startswith("The values of the arms are raw") == bool(word)


def test_totals_of_an_arm() -> None:
    arm = replace(TIME.control, total=4_206_000.0, base=8_128.0)
    per_day = replace(TIME, unit="s per user-day")
    assert summary.totals(arm, per_day) == "4,206,000 s / 8,128 user-days"
    assert summary.totals(arm, replace(per_day, kind="ratio")) == "4,206,000 s / 8,128"
    assert summary.totals(arm, replace(TIME, unit="%")) == "4,206,000 / 8,128"
    assert summary.totals(replace(arm, base=None), per_day) == ""
    assert summary.totals(replace(arm, total=None), per_day) == ""


def test_what_else_moved_is_named_largest_first_and_then_counted() -> None:
    moved = [
        replace(row(f"Metric{i}", "better", Estimate(0.01 * i, 0.0, 1.0)), role="secondary")
        for i in range(1, 7)
    ]
    fell = replace(row("Likes", "worse", Estimate(-0.5, -0.6, -0.4)), role="secondary")
    still = replace(row("Shares", "not clear", Estimate(0.9, -0.1, 2.0)), role="secondary")
    told = replace(row("F1", "better", Estimate(9.0, 8.0, 10.0)), role="secondary")
    split = FactorSplit("time", 0.05, (factor("F1", 0.05),), 0.95)
    said = summary.trade_offs(compared(TIME, *moved, fell, still, told, factors=split))
    better = "metric6 +6.0 %, metric5 +5.0 %, metric4 +4.0 %, metric3 +3.0 %, 2 more"
    assert said == f"Also better: {better}; worse: likes -50.0 %."
    assert summary.trade_offs(compared(TIME, still)) == ""
    four = summary.trade_offs(compared(TIME, *moved[:4]))
    assert four == "Also better: metric4 +4.0 %, metric3 +3.0 %, metric2 +2.0 %, metric1 +1.0 %."


def factor(name: str, part: float, low: float = 0.01, high: float = 0.02) -> Factor:
    whole = Estimate(part, low, high)
    return Factor(name, name, "s", 10.0, 11.0, whole, Estimate(part, None, None))


def test_the_reason_names_factors_until_they_make_up_most_of_the_lift() -> None:
    for parts, reason in (
        ((0.07, 0.02, 0.01), "Why: mostly a (+7.0 % of +10.0 %)."),
        ((0.02, 0.01, 0.07), "Why: mostly c (+7.0 % of +10.0 %)."),
        ((0.06, 0.03, 0.01), "Why: mostly a (+6.0 % of +10.0 %) and b (+3.0 % of +10.0 %)."),
    ):
        factors = tuple(factor(name, part) for name, part in zip("abc", parts, strict=True))
        found = replace(VERDICT, finding="improved")
        comparison = replace(
            compared(TIME, factors=FactorSplit("time", 0.1, factors, 0.95)), verdict=found
        )
        assert verdicts.why(result(comparison), comparison) == reason
    line = summary.factor_line(FactorSplit("time", 0.1, factors, 0.95))
    assert line == "Of +10.0 %: a +6.0 %, b +3.0 %, c +1.0 %."


def test_values_of_a_factor_have_its_unit_where_there_is_a_value() -> None:
    """A unit follows, what it is counted per does not."""
    time = factor("a", 0.1)
    assert summary.factor_values(time) == ["10.00 s", "11.00 s"]
    assert summary.factor_values(replace(time, unit="per visit")) == ["10.00", "11.00"]
    assert summary.factor_values(replace(time, control=float("nan"))) == ["n/a", "11.00 s"]


@pytest.mark.parametrize(
    ("sentence", "reason", "cause", "why"),
    [
        ("A is better.", "", "it is", ""),
        ("A is better.", "it was tried", "it is", "Why: it was tried."),
        ("A is better, since it was tried.", "it was tried", "it is", ""),
        ("A is better.", "it was tried", "it was tried", ""),
    ],
)
def test_sentences_of_old_results_are_said_once(
    sentence: str, reason: str, cause: str, why: str
) -> None:
    written = replace(VERDICT, written=WrittenVerdict(sentence, reason, cause))
    old = replace(compared(TIME), verdict=written)
    assert verdicts.sentence(result(old), old) == sentence
    assert verdicts.decision(result(old), old) == f"Decision: ship, because {cause}."
    assert verdicts.why(result(old), old) == why
    silent = replace(old, verdict=replace(written, decision=None))
    assert verdicts.decision(result(silent), silent) == ""


@pytest.mark.parametrize(
    ("outcome", "said"),
    [("better", "mostly exaggerated"), ("not clear", "holds losses and gains alike")],
)
def test_a_weak_test_exaggerates_only_what_it_finds(outcome: Any, said: str) -> None:
    comparison = replace(
        compared(replace(TIME, outcome=outcome)), verdict=replace(VERDICT, finding="weak test")
    )
    assert said in verdicts.why(result(comparison), comparison)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.01, 0.02, "up"), (-0.02, -0.01, "down"), (-0.01, 0.01, "not clear"),
        (0.0, 0.01, "not clear"), (-0.01, 0.0, "not clear"), (None, 0.01, "not clear"),
        (0.01, None, "not clear"),
    ],
)  # fmt: skip
def test_a_factor_moved_if_its_interval_excludes_zero(low: Any, high: Any, outcome: str) -> None:
    assert summary.factor_outcome(factor("a", 0.01, low, high)) == outcome


def test_guardrails_say_what_their_interval_rules_out() -> None:
    down = replace(GUARD, direction="down")
    assert metrics.margin(GUARD) == "must not fall by more than 5 %"
    assert metrics.margin(down) == "must not rise by more than 5 %"
    assert metrics.margin(TIME) == "no margin"
    nothing = "nothing can be said about this guardrail."
    for outcome, said in (
        ("within margin", "the interval rules out a fall beyond 5 %."),
        ("margin broken", "the whole interval is a fall beyond 5 %."),
        ("not clear", "the interval does not rule out a fall beyond 5 %."),
        ("no data", nothing),
    ):
        assert metrics.guardrail(replace(GUARD, outcome=outcome)) == said
    assert metrics.guardrail(replace(down, outcome="not clear")).count("a rise beyond") == 1
    assert metrics.guardrail(replace(GUARD, margin=None)) == nothing
    assert (metrics.preference(GUARD), metrics.preference(down)) == (
        "more is better", "less is better",
    )  # fmt: skip


def test_a_trend_is_named_where_it_is_significant() -> None:
    for p, slope, word in (
        (0.049, 0.01, "the lift rises"), (0.049, -0.01, "the lift falls"),
        (0.051, 0.01, "no clear trend"),
    ):  # fmt: skip
        trend = Novelty(7, Estimate(slope, slope - 0.01, slope + 0.01), 0.0, 0.0, p, "daily", 0.95)
        said = metrics.novelty(compared(TIME, novelty=trend))
        assert said is not None and said.endswith(f": {word}.")
    assert metrics.novelty(compared(TIME)) is None
    assert metrics.detectable(TIME).startswith("With this data's variance, the test detects a "
                                               "change of ±3.0 % in time")  # fmt: skip
    unknown = metrics.detectable(replace(TIME, detectable_effect=None))
    assert unknown == "What this test could detect in time is not known."


def test_levels_of_segments_stand_in_the_order_a_person_would_list_them() -> None:
    levels = [
        "none", "new", "light users", "medium", "heavy users", "full_active", "5", "[10,20)",
        "20+", "3k", "1w", "1m", "apple", "pear", "other", "unknown",
    ]  # fmt: skip
    shuffled = [
        SegmentLift("a", level, 9, None, None)
        for level in sorted(levels, key=lambda name: name[::-1])
    ]
    first = SegmentLift("z", "x", 9, None, None)
    found = segments.segment_order(compared(TIME, segments=(first, *shuffled)))
    assert [s.level for s in found] == ["x", *levels]
    # Names of other things between numbers change nothing, and equal ranks go by number.
    assert segments._natural("low 2") < segments._natural("low 10") < segments._natural("mid")
    shown = {
        "(0,10]": "over 0 to 10", "[10,20)": "10 to under 20", "500+": "500 and more",
        "1.5k+": "1.5k and more", "full_active": "full active", "a+": "a+",
    }  # fmt: skip
    assert {level: segments.segment_level(level) for level in shown} == shown
    assert segments.segment_variable("activity_level") == "Activity level"


@pytest.mark.parametrize(
    ("low", "high", "up", "down"),
    [
        (0.01, 0.02, "better", "worse"), (-0.02, -0.01, "worse", "better"),
        (0.0, 0.02, "not clear", "not clear"), (-0.02, 0.0, "not clear", "not clear"),
        (None, 0.02, "no data", "no data"), (0.01, None, "no data", "no data"),
    ],
)  # fmt: skip
def test_outcomes_of_segments(low: Any, high: Any, up: str, down: str) -> None:
    lift = SegmentLift("a", "x", 9, Estimate(0.01, low, high), None)
    assert segments.segment_outcome(lift, TIME) == up
    assert segments.segment_outcome(lift, replace(TIME, direction="down")) == down
    assert segments.segment_outcome(replace(lift, relative=None), TIME) == "no data"


def test_segments_differ_where_the_corrected_test_says_so() -> None:
    tests = tuple(
        SegmentInteraction(name, 3, 9.0, 2, 0.01, p, "segments (Holm)")
        for name, p in (("a", 0.049), ("b", 0.051), ("c", 0.9))
    )
    said = segments.interactions(compared(TIME, interactions=tests))
    assert said == ["The lift differs between the levels of 'a' (p = 0.049; segments (Holm))."]
    strict = replace(TIME, confidence=0.99)
    assert segments.interactions(compared(strict, interactions=tests)) == []
    assert len(segments.interactions(compared(GUARD, interactions=tests))) == 1


def test_checks_say_their_code_and_else_their_detail() -> None:
    facts = {"users": [4_000, 8_100, 100], "planned": [1.0, 2.0, 0.0], "p": 1e-9}
    broken = HealthCheck("srm", "", "fail", "as before", "split broken", facts)
    assert checks.check_sentence(broken).startswith(
        "traffic split is broken: 4,000 vs 8,100 vs 100, planned 33.33/66.67/0 (p "
    )
    assert checks.check_label(broken) == "Traffic split"
    kept = HealthCheck("own", "Mine", "pass", "a sentence of its own")
    assert checks.check_sentence(kept) == "a sentence of its own"
    assert checks.check_label(kept) == "Mine"
    one = HealthCheck("users", "", "fail", "", "users in two arms", {"users": 1})
    assert checks.check_sentence(one) == "1 user in more than one arm"
    alike = {"users": [5, 5], "planned": [0.5, 0.5], "p": 1.0}
    split = HealthCheck("srm", "", "pass", "", "split as planned", alike)
    assert checks.check_sentence(split) == "5 vs 5, planned equal (p > 0.99)"
    for levels, said in ((1, "the only level"), (4, "all 4 levels")):
        segment = HealthCheck("s", "", "pass", "", "split as planned in segments",
                              {"levels": levels, "p": 0.3})  # fmt: skip
        assert f"as planned in {said} of" in checks.check_sentence(segment)


def test_what_is_to_be_known_beside_the_checks() -> None:
    weak = replace(row("likes", "not clear", Estimate(0.0, -0.1, 0.1), detectable=0.2))
    comparisons = (compared(TIME), compared(weak))
    plain = ExperimentResult(2, "t", True, "online", comparisons, ())
    found = {chip.label: (chip.status, chip.detail) for chip in checks.chips(plain)}
    assert found["Power"] == ("note", "detects ±20.0 % in likes (80 % power)")
    assert found["World fidelity"] == ("not run", "simulated people; not compared with anything")
    assert found["A/A calibration"][0] == "not run"
    # Real people have no world; what was checked is not said again.
    names = ("power", "aa")
    health = tuple(HealthCheck(name, name, "pass", "d") for name in names)
    real = ExperimentResult(2, "t", False, "online", comparisons, health)
    assert [chip.label for chip in checks.chips(real)] == list(names)
    checked = replace(plain, health=(HealthCheck("fidelity", "F", "pass", "d"),))
    assert [c.label for c in checks.chips(checked)] == ["F", "Power", "A/A calibration"]


def test_the_world_is_described_by_what_was_measured_of_it() -> None:
    rows = [
        {"role": "fitted", "verdict": "close"}, {"role": "fitted", "verdict": "off"},
        {"role": "fitted", "verdict": "not measured"}, {"role": "free", "verdict": "close"},
    ]  # fmt: skip
    reactions = {"direction": 4, "lines": 5}
    for environment, said in (
        ({"kind": "world", "fidelity": rows, "reactions": reactions},
         "world; close to published statistics: 1 of 2 fitted, 1 of 1 free; reacts to a better "
         "ranker as published: 4 of 5"),
        ({"kind": "world", "fidelity": rows},
         "world; close to published statistics: 1 of 2 fitted, 1 of 1 free"),
        ({"quality": {"binary": {"a": {"auc": 0.812}, "b": {"auc": 0.655}, "c": {"auc": None}}}},
         "simulated people; held-out AUC 0.66 to 0.81"),
        ({"quality": {"binary": {"a": {"auc": 0.812}}}}, "simulated people; held-out AUC 0.81"),
    ):  # fmt: skip
        known = result(compared(TIME), context={"environment": environment})
        chip = checks._environment(known)
        assert (chip.label, chip.status, chip.detail) == ("World fidelity", "note", said)


def test_people_learned_from_a_log_are_judged_in_one_sentence() -> None:
    def said(**facts: object) -> tuple[str, str]:
        chip = checks._learned_people(
            result(compared(TIME), context={"environment": {"quality": {"two_sample": facts}}})
        )[0]
        assert chip.label == "Two-sample test"
        return chip.status, chip.detail

    assert said(auc=0.51, low=0.48, high=0.54) == (
        "note",
        "a classifier cannot tell simulated sessions from the log's (AUC 0.51, 0.48 to 0.54): "
        "nothing here speaks against believing it",
    )
    status, sentence = said(
        auc=0.604, low=0.58, high=0.62, with_pauses={"auc": 0.76, "low": 0.74, "high": 0.78}
    )
    assert status == "note" and "hardly tells" in sentence
    assert "with the pauses between videos, which are simplified: 0.76, 0.74 to 0.78" in sentence
    assert [said(auc=a, low=a - 0.01, high=a + 0.01)[0] for a in (0.69, 0.7, 0.8)] == [
        "note", "warn", "warn",
    ]  # fmt: skip
    assert "not their size" in said(auc=0.79, low=0.7, high=0.82)[1]
    assert said(auc=0.8, low=0.7, high=0.82)[1].endswith("do not decide by it")
    assert said(problem="7 people: too few")[0] == "not run"
    # An interval that includes a half says that nothing was told apart, whatever the area.
    assert said(auc=0.9, low=0.5, high=1.0)[0] == "note"
    assert said(auc=0.9, low=0.5, high=1.0)[1].startswith("a classifier cannot tell")
    assert said(auc=0.51, low=0.501, high=0.52)[1].startswith("a classifier hardly tells")
    for broken in ({"auc": None}, {"auc": "1", "low": 0.1, "high": 0.2}, {}):
        context = {"environment": {"quality": {"two_sample": broken}}}
        assert checks._learned_people(result(compared(TIME), context=context)) == []


def test_what_a_log_could_not_teach_is_a_warning() -> None:
    environment = {
        "selection": "every impression is a click",
        "support": {"times": 3, "people": 9, "shares": {"new": 0.51, "old": 0.5}},
    }
    found = checks._learned_people(result(compared(TIME), context={"environment": environment}))
    assert [(c.label, c.status) for c in found] == [
        ("Selection in the log", "warn"), ("Support", "warn"),
    ]  # fmt: skip
    assert found[0].detail == "every impression is a click"
    assert found[1].detail.startswith("new shows mostly what the log hardly shows: 51 % of its")
    assert "fewer than 3 impressions" in found[1].detail


def test_oracles_are_named_where_they_take_part() -> None:
    arms = {
        "a": {"oracle": "knows the people"}, "b": {}, "c": {"oracle": "takes no part"},
        "d": "no facts",
    }  # fmt: skip
    known = result(compared(TIME), context={"policies": arms})
    assert checks.oracles(known) == ["a knows the people"]
    # Also where one arm is a treatment here and the control there.
    after = replace(compared(TIME), treatment="c", control="b")
    chain = replace(known, comparisons=(compared(TIME), after))
    assert checks.oracles(chain) == ["a knows the people", "c takes no part"]
    middle = replace(chain, comparisons=(after, replace(after, treatment="d", control="c")))
    assert checks.oracles(middle) == ["c takes no part"]
    assert checks.chips(known)[0].label == "Oracle"
    line = summary.checks_line([
        checks.Chip("A", "warn", ""), checks.Chip("B", "pass", ""), checks.Chip("C", "pass", ""),
        checks.Chip("D", "fail", ""), checks.Chip("D", "fail", ""), checks.Chip("E", "note", ""),
    ])  # fmt: skip
    assert line == "2 failed (D), 1 warning (A), 2 passed, 1 note"
