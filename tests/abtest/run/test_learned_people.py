"""Runs on a log say how far its people can be believed, and where the log taught them nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simulator.logs.dataset import DatasetWriter
from simulator.response.learned import optimisation
from simulator.response.learned.two_sample import boosting
from tests.abtest.conftest import Result

Run = Callable[..., Result]

START_MS = 1_649_347_200_000
PEOPLE, SHOWN, VIDEOS = 40, 30, 90
RARE = """import numpy as np
from policies.base import Policy


class Rare(Policy):
    \"\"\"What the log shows most comes last.\"\"\"

    def score_videos(self, requests):
        return (requests.candidates >= {shown}).astype(np.float32)
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 people, of 90 videos only the first 30 were ever shown; everybody reacts to everything."""
    monkeypatch.setattr(optimisation, "_MAX_STEPS", 3)
    monkeypatch.setattr(boosting, "_TREES", 5)
    random = np.random.default_rng(1)
    user = np.repeat(np.arange(PEOPLE), 60)
    n = len(user)
    place = np.tile(np.arange(60), PEOPLE)
    like = random.integers(0, 2, n)
    rows = {
        "user_id": user, "video_id": random.integers(0, SHOWN, n),
        "time_ms": START_MS + place * 3_000_000 + user * 1_000,
        "play_time_ms": random.integers(1_000, 30_000, n), "duration_ms": np.full(n, 20_000),
    }  # fmt: skip
    flags = {"is_click": random.integers(0, 2, n), "is_like": like, "is_hate": 1 - like}
    impressions = pl.DataFrame(rows).with_columns(
        pl.Series(name, values, dtype=pl.Int8) for name, values in flags.items()
    )
    with DatasetWriter(tmp_path / "log", name="log", source="test", licence="none") as writer:
        writer.append("impressions", impressions)
        writer.append("users", impressions.select("user_id").unique().sort("user_id"))
        writer.append("videos", pl.DataFrame({"video_id": range(VIDEOS)}))
    return tmp_path / "log"


def test_a_run_says_whether_to_believe_it_and_what_the_log_lacks(
    abtest: Run, log: Path, tmp_path: Path
) -> None:
    (tmp_path / "rare.py").write_text(RARE.format(shown=SHOWN))
    asked = (
        "run", "-t", "rare.py:Rare", "-c", "popular", "--data", "log", "--days", "1", "--workers",
        "1", "--out", "out",
    )  # fmt: skip
    for more in ((), ("--dry-run",)):
        refused = abtest(*asked, *more)
        assert refused.code == 3 and not (tmp_path / "out").exists()
        assert "log has no comment_stay_time: comment_watch_time cannot be" in refused.err
        assert "--primary play_time" in refused.err
    ran = abtest(*asked, "--primary", "play_time")
    assert ran.code in (0, 4), ran.err
    assert "it holds only rows with a reaction" in ran.err
    assert "Rare shows mostly what the log hardly shows" in " ".join(ran.err.split())
    environment = json.loads((tmp_path / "out" / "results.json").read_text())["context"][
        "environment"
    ]
    shares = environment["support"]["shares"]
    assert shares["popular"] < 0.1 and shares["rare.py:Rare"] > 0.5
    facts = environment["quality"]["two_sample"]
    assert facts["users"] == PEOPLE and facts["low"] <= facts["auc"] <= facts["high"]
    for words in ("Two-sample test", "Selection in the log", "Support"):
        assert words in ran.out

    told = abtest("data", "fidelity", "log")
    assert told.code == 0 and "learning how people respond" not in told.err, "it was kept"
    assert "simulated sessions from the log's (AUC" in " ".join(told.out.split())
    assert json.loads(abtest("data", "fidelity", "log", "--json").out)["two_sample"] == facts
