"""The benchmark of orders: steps go on where they were interrupted, tables come from results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import replay_order
from benchmarks.replay_order import POLICIES, lifts, report, steps


def _result(folder: Path, metrics: dict[str, dict[str, float | None]]) -> Path:
    folder.mkdir(parents=True)
    comparisons = [
        {
            "treatment": policy,
            "metrics": [
                {"metric": name, "relative": None if lift is None else {"value": lift}}
                for name, lift in own.items()
            ],
        }
        for policy, own in metrics.items()
    ]
    (folder / "results.json").write_text(json.dumps({"comparisons": comparisons}))
    return folder


def test_what_is_done_is_kept_and_what_was_interrupted_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(replay_order, "abtest", lambda *words: ran.append(words))
    _result(tmp_path / "written", {})
    (tmp_path / "simulation").mkdir()
    (tmp_path / "simulation" / "plan.json").write_text("{}")
    folders = steps(tmp_path, 100, 50, workers=1, policies=("random", "ease"))
    assert [words[0] for words in ran] == ["replay", "run", "run"]
    assert ran[1] == ("run", "--resume", str(tmp_path / "simulation"), "--workers", "1")
    assert ran[0][1:7] == ("-t", "random", "-t", "ease", "-c", "popular")
    assert "--out" in ran[0] and "--out" in ran[2]
    assert {name: path.name for name, path in folders.items()} == {
        "replay": "replay", "simulation": "simulation", "truth": "truth"
    }  # fmt: skip


def test_comment_time_of_a_run_is_taken_per_video(tmp_path: Path) -> None:
    run = _result(tmp_path / "run", {
        "ease": {"click_rate": 0.1, "comment_watch_time": 0.32, "impressions": 0.1},
    })  # fmt: skip
    found = lifts(run, replayed=False)
    assert found["ease"]["click_rate"] == 0.1
    assert found["ease"]["comment_time"] == pytest.approx(0.2)
    replayed = _result(tmp_path / "replay", {"ease": {"click_rate": None, "comment_stay_ms": 0.3}})
    assert lifts(replayed, replayed=True) == {"ease": {"comment_time": 0.3}}


def test_orders_are_compared_with_the_truth(capsys: pytest.CaptureFixture[str]) -> None:
    truth = {p: {"click_rate": 0.1 * (i + 1)} for i, p in enumerate(POLICIES)}
    half = {p: {"click_rate": own["click_rate"] / 2} for p, own in truth.items()}
    few = dict(list(truth.items())[:3])
    report({"replay": half, "simulation": few, "truth": truth})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    # 7 lifts and the control in the right order, each half as large: mean error 20 points.
    assert ["click_rate", "replay", "7", "1.00", "1.00", "to", "1.00", "20.0", "0.50"] in lines
    assert ["click_rate", "simulation", "3", "-", "-", "-", "-"] in lines
    assert [POLICIES[6], "35.0", "-", "70.0"] in lines
