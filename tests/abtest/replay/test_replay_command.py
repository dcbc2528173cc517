"""`abtest replay` from a dataset on disk to exit code, text, results.json and report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from abtest.replay.training import behind
from policies.base import Policy
from reports.results import ExperimentResult
from simulator.logs.dataset import DatasetWriter
from simulator.logs.schema import TABLES
from simulator.replay.target.targets import NOT_PROPOSED
from simulator.requests import HistoryView, Int32
from tests.reports.conftest import make_result
from tests.simulator.replay import decision_log as platform

Run = Callable[..., Any]


def write(log: platform.DecisionLog, path: Path, **randomisation: dict[str, object]) -> Path:
    """The platform's log as a dataset."""
    frames = {f.name: getattr(log, f.name) for f in dataclasses.fields(log)}
    degree = pl.when(pl.col("user_id") % 3 == 0).then(pl.lit("high")).otherwise(pl.lit("low"))
    people = log.impressions.select("user_id").unique().sort("user_id")
    frames["users"] = people.with_columns(user_active_degree=degree)
    frames["videos"] = pl.DataFrame({"video_id": np.arange(platform.VIDEOS)})
    with DatasetWriter(
        path, name="platform", source="test", licence="none", randomisation=randomisation or None
    ) as writer:
        for name, frame in frames.items():
            if frame is not None:
                types = TABLES[name].dtypes()
                columns = [pl.col(c).cast(types[c]) for c in frame.columns]
                writer.append(name, frame.select(columns))
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(platform.make(1, users=300, pages=4), tmp_path_factory.mktemp("log") / "log")


def test_a_usable_log_ends_with_a_verdict_and_files(abtest: Run, log: Path, tmp_path: Path) -> None:
    result = abtest(
        "replay", "-t", "random", "-c", "popular", "--data", log, "--explore-share", "40%",
        "--out", "out", "--html", "page.html", "--primary", "click_rate",
        "--quantiles", "0.5,90%,0.99",
    )  # fmt: skip
    assert result.code == 0, result.err
    # What the log identifies is said before anything is trained.
    assert result.err.index("videos    identified") < result.err.index("training")
    assert "Per impression, not per user-day" in " ".join(result.out.split())
    assert max(len(line) for line in result.out.splitlines()) <= 82
    document = (tmp_path / "out" / "results.json").read_text()
    experiment = ExperimentResult.from_json(document)
    primary = experiment.comparisons[0].metrics[0]
    assert (primary.metric, primary.unit) == ("click_rate", "% of impressions")
    secondary = [m for m in experiment.comparisons[0].metrics if m.role == "secondary"]
    assert all("Holm" in m.family for m in secondary if m.p_value is not None)
    page = (tmp_path / "page.html").read_text()
    assert "popular" in page
    # A third of 300 users; their lift is in the terminal, the document and the report.
    segments = {s.level: s for s in experiment.comparisons[0].segments}
    assert {level: s.users for level, s in segments.items()} == {"high": 100, "low": 200}
    assert segments["low"].relative is not None
    assert segments["low"].p_adjusted is not None
    lift = f"{100 * segments['low'].relative.value:+.1f} %"
    assert lift in result.out.split("By segment")[1]
    quantiles = experiment.context["replay"]["quantiles"]
    stay = {q["share"]: q for q in quantiles if q["metric"] == "comment_stay_ms"}
    assert [stay[s]["verdict"] for s in (0.5, 0.9, 0.99)] == ["usable", "caution", "unusable"]
    assert stay[0.99]["treated"] is None
    gap = stay[0.9]["difference"]
    shown = f"{gap['value'] / 1000:+.2f}  {gap['low'] / 1000:+.2f} to {gap['high'] / 1000:+.2f}"
    assert shown in result.out.split("Quantiles of times")[1]
    assert "rows beyond this quantile; at least 10" in " ".join(result.out.split())
    assert "Comment watch time, p90" in page
    growth = experiment.context["replay"]["growth"]
    assert [p["users"] for p in growth["precision"]["random"]] == [
        38, 75, 113, 150, 188, 225, 263, 300
    ]  # fmt: skip
    assert "How this grows with the log: random" in page
    said = f"finds a lift of {100 * growth['precision']['random'][-1]['detectable']:.1f} %"
    assert said in " ".join(result.out.split())
    assert "times this log would detect 0.5 %" in " ".join(result.out.split())
    assert "in 2 segments" in page
    assert (
        json.loads((tmp_path / "out" / "plan.json").read_text())["replay"]["control"] == "popular"
    )
    simulated = make_result(1, {"popular": 1.0, "random": 0.8}, users=200)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text(simulated.to_json())
    (tmp_path / "run" / "plan.json").write_text("{}")
    shown = abtest("compare", "out", "run", "--html", "both.html")
    assert shown.code == 0, shown.err
    assert "2 runs (1 replay, 1 simulation)" in shown.out
    rows = [line.split()[:4] for line in shown.out.splitlines()]
    assert ["out", "replay", "random", "popular"] in rows
    assert ["run", "simulation", "random", "popular"] in rows
    assert "out<small>replay</small>" in (tmp_path / "both.html").read_text()
    methods = json.loads(abtest("compare", "out", "run", "--json").out)["runs"]
    assert [one["method"] for one in methods] == ["replay", "simulation"]


def test_all_estimators_stand_in_table_page_and_document(
    abtest: Run, log: Path, tmp_path: Path
) -> None:
    usual = ("replay", "-t", "random", "-c", "popular", "--data", log, "--explore-share", "40%",
             "--primary", "click_rate")  # fmt: skip
    plain = abtest(*usual, "--out", "plain")
    every = abtest(*usual, "--out", "every", "--estimators", "all")
    assert (plain.code, every.code) == (0, 0), every.err
    before, after = (
        ExperimentResult.from_json((tmp_path / name / "results.json").read_text())
        for name in ("plain", "every")
    )
    assert before.comparisons == after.comparisons
    first = after.context["replay"]["metrics"][0]
    assert set(before.context["replay"]["metrics"][0]["estimates"]) < set(first["estimates"])
    assert first["recommended"] == before.context["replay"]["metrics"][0]["recommended"]
    page = (tmp_path / "every" / "report.html").read_text()
    for name, words in first["assumes"].items():
        assert f"{name}: {words}" in " ".join(every.out.split())
        assert f"assumes: {words}" in page
        assert name not in ("clipped_ips", "sub_gaussian_ips") or name not in plain.out
    reason = "the log's videos have no category"
    assert f"marginalised_ips: {reason}" in every.out
    assert first["left_out"]["marginalised_ips"] == reason
    assert "Estimators that this log does not allow" in page
    wanted = ("ips", "control", "bootstrap")
    bounds = {(i["estimator"], i["of"], i["method"]): i for i in first["intervals"]}[wanted][
        "found"
    ]
    shown = f"{100 * bounds['low']:.2f} to {100 * bounds['high']:.2f}"
    assert f"{shown} %" in every.out
    assert shown in page
    assert "What each assumes" not in plain.out
    wrong = abtest(*usual, "--estimators", "ips,clip")
    assert wrong.code == 2
    assert "unknown estimator 'clip'" in wrong.err
    assert "clipped_ips" in wrong.err


def test_intervals_by_another_method(abtest: Run, log: Path) -> None:
    usual = ("replay", "-t", "random", "-c", "popular", "--data", log, "--explore-share", "40%",
             "--primary", "click_rate", "--json")  # fmt: skip

    def lift(*options: str) -> dict[str, float]:
        result = abtest(*usual, *options)
        assert result.code == 0, result.err
        document = json.loads(result.out)
        found: dict[str, float] = document["comparisons"][0]["metrics"][0]["relative"]
        return found

    plain, drawn = lift(), lift("--interval", "bootstrap", "--draws", "300")
    assert drawn["value"] == pytest.approx(plain["value"])
    assert drawn["low"] != plain["low"]
    assert drawn == lift("--interval", "bootstrap", "--draws", "300")
    assert drawn != lift("--interval", "bootstrap", "--draws", "300", "--draws-seed", "1")
    wide = lift("--interval", "likelihood")
    assert wide == lift("--conservative")
    assert wide["low"] <= plain["low"]
    assert plain == lift("--interval", "student")
    refused = abtest(*usual, "--interval", "bernstein")
    assert refused.code == 2
    assert "--estimators all" in refused.err
    assert abtest(*usual, "--interval", "bootstrap", "--conservative").code == 2


def test_too_little_overlap_is_unusable_and_exits_with_4(abtest: Run, tmp_path: Path) -> None:
    short = write(platform.make(2, users=25, pages=4), tmp_path / "short")
    result = abtest("replay", "-t", "random", "-c", "popular", "--data", short, "--json")
    assert result.code == 4, result.err
    experiment = ExperimentResult.from_json(result.out)
    assert experiment.comparisons[0].verdict.state == "no verdict"
    assert experiment.comparisons[0].metrics[0].relative is None
    assert any(check.status == "fail" for check in experiment.health)


def test_what_is_not_identified_is_refused_before_training(abtest: Run, tmp_path: Path) -> None:
    bare = write(
        dataclasses.replace(platform.make(3, users=30), comment_decisions=None), tmp_path / "bare"
    )
    result = abtest("replay", "-t", "likes", "-c", "newest", "--data", bare)
    assert result.code == 3
    assert "comments  not identified" in result.err
    assert "--keep-log" in result.err
    assert "training" not in result.err


def test_comment_orders_are_replayed_with_the_videos_as_logged(abtest: Run, log: Path) -> None:
    result = abtest(
        "replay", "-t", "newest", "-c", "likes", "--data", log, "--stage", "comments",
        "--explore-comments", "50%", "--json",
    )  # fmt: skip
    assert result.code in (0, 4), result.err
    found = json.loads(result.out)["context"]["replay"]
    assert found["stages"] == ["comments"]
    assert {m["name"] for m in found["metrics"]} >= {"comment_stay_ms"}


def test_a_ranker_is_asked_only_about_what_the_stage_before_it_proposes() -> None:
    class Stage(Policy):
        def propose_videos(self, history: HistoryView, among: Int32, size: int) -> Int32:
            assert size == 24
            return np.stack([among[:size], among[-size:]]).astype(np.int32)

    pool = np.random.default_rng(1).permutation(60).astype(np.int32)
    requests = SimpleNamespace(candidates=np.stack([pool, pool]), history=None)
    score = behind(Stage(), lambda r: r.candidates.astype(np.float32))(requests)  # type: ignore[arg-type]
    assert (score[0, :24] == pool[:24]).all()
    assert (score[0, 24:] == NOT_PROPOSED).all()
    assert (score[1, -24:] == pool[-24:]).all()
    assert (score[1, :-24] == NOT_PROPOSED).all()
    small = SimpleNamespace(candidates=np.stack([pool[:20], pool[:20]]), history=None)

    class All(Policy):
        def propose_videos(self, history: HistoryView, among: Int32, size: int) -> Int32:
            return np.stack([among, among])

    every = behind(All(), lambda r: r.candidates.astype(np.float32))(small)  # type: ignore[arg-type]
    assert (every == pool[:20]).all()


def test_a_candidate_stage_needs_a_log_over_a_pool(abtest: Run, log: Path) -> None:
    asked = ("replay", "-t", "random", "-c", "popular", "--data", log, "--candidates")
    listed = abtest(*asked, "two-tower")
    assert listed.code == 3
    assert "could mostly not be shown" in listed.err
    assert "training" not in listed.err
    ranker = abtest(*asked, "popular")
    assert ranker.code == 2
    assert "proposes none" in ranker.err


def test_settings_of_the_project_file_reach_the_policies(
    abtest: Run, log: Path, tmp_path: Path
) -> None:
    (tmp_path / "abtest.toml").write_text("[policies.itemknn]\nneighbours = 0\n")
    refused = abtest("replay", "-t", "itemknn", "-c", "popular", "--data", log)
    assert refused.code == 2, refused.err
    assert "neighbours" in refused.err


def test_several_treatments_and_training_seeds(abtest: Run, log: Path, tmp_path: Path) -> None:
    asked = (
        "replay", "-t", "random", "-t", "itemknn", "-c", "popular", "--data", log,
        "--explore-share", "40%", "--primary", "click_rate", "--training-seeds", "2",
    )  # fmt: skip
    refused = abtest(*asked)
    assert refused.code == 3
    assert f"the part of {log} before what is replayed has none" in refused.err
    (tmp_path / "abtest.toml").write_text('[policies.itemknn]\nsignal = "clicked"\n')
    result = abtest(*asked)
    assert result.code == 0, result.err
    assert "itemknn against popular, per impression" in result.out
    assert "over 2 training seeds" in " ".join(result.out.split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--rows", "some"), "--rows is 'some'"),
        (("--stage", "audio"), "--stage is 'audio'"),
        (("--metric", "clicks"), "unknown metric 'clicks'"),
        (("--reward-model", "deep"), "--reward-model is 'deep'"),
        (("--quantiles", "0.5,1"), "--quantiles has 1, expected numbers between 0 and 1"),
        (("--quantiles", "half"), "'half' is not a number"),
        (("--quantiles", "0.5", "-m", "click_rate"), "--quantiles needs a time, not click_rate"),
        (("--training-seeds", "0"), "--training-seeds is 0"),
    ],
)
def test_options_that_cannot_be(
    abtest: Run, log: Path, arguments: tuple[str, ...], expected: str
) -> None:
    result = abtest("replay", "-t", "random", "-c", "popular", "--data", log, *arguments)
    assert (result.code, result.out) == (2, "")
    assert expected in result.err


def test_a_bandit_log_from_table_to_verdict(abtest: Run, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    lines = ["item,got,p,new"]
    for _ in range(3_000):
        item = int(random.integers(0, 4))
        got = int(random.random() < (0.2, 0.4, 0.6, 0.1)[item])
        lines.append(f"{item},{got},0.25,{(0.1, 0.2, 0.6, 0.1)[item]}")
    (tmp_path / "choices.csv").write_text("\n".join(lines) + "\n")
    names = "action=item,reward=got,propensity=p,target=new"
    done = abtest("data", "import", "choices.csv", "log", "--propensities", names)
    assert done.code == 0, done.err
    # The log says nothing of play times: an experiment would read 0 in every row.
    assert "abtest replay --data log -t popular -c random" in done.out
    assert "play_time_ms is a placeholder" in " ".join(done.out.split())
    run = abtest("run", "-t", "popular", "-c", "random", "--data", "log", "--primary", "play_time")
    assert run.code == 3 and "does not say play_time_ms" in run.err
    result = abtest("replay", "--data", "log", "--target-probability", "target_probability")
    assert result.code == 0, result.err
    assert "caution" in result.out
    assert "as logged" in result.out
    every = abtest(
        "replay", "--data", "log", "--target-probability", "target_probability",
        "--estimators", "all", "--interval", "bootstrap", "--draws", "300",
    )  # fmt: skip
    assert every.code == 0, every.err
    assert "clipped_ips: what large weights add does not matter" in every.out
    flat = " ".join(every.out.split())
    assert "marginalised_ips: the log does not tell the other candidates' chances" in flat
    assert "by a bootstrap over users (300 draws)" in flat
    wrong = abtest("replay", "--data", "log", "--target-probability", "new")
    assert wrong.code == 3
    assert "no column 'new'" in wrong.err
