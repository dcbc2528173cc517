"""A policy as the candidate stage: what it proposes, for every arm alike, and what is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abtest.run.arms.candidates import IMPERSONAL, PROPOSED, PolicyRetrieval
from abtest.run.contract.requests import video_requests
from policies.base import Policy
from policies.registry import create
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import initial_history
from simulator.randomness import mix, purpose_key
from simulator.requests import HistoryState, HistoryView, Int32
from simulator.retrieval import SeenVideos, Sources

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821
VIDEOS, PEOPLE = 900, 50


class Ascending(Policy):
    """Proposes the smallest indices."""

    def propose_videos(self, history: HistoryView, among: Int32, size: int) -> Int32:
        return np.tile(np.sort(among)[:size], (len(history), 1))


@pytest.mark.parametrize("now", [10_000, 150])
def test_the_best_unseen_and_uploaded_ones_are_among_the_candidates(now: int) -> None:
    catalogue = Catalogue.build(np.arange(VIDEOS), upload_ms=np.arange(VIDEOS))
    stage = PolicyRetrieval(Ascending(), catalogue)
    rows = np.arange(PEOPLE, dtype=np.int64)
    seen = SeenVideos(PEOPLE, VIDEOS, 400)
    shown = np.tile(np.arange(0, 120, 2, dtype=np.int32), (PEOPLE, 1))
    seen.add_page(rows, shown, np.ones(shown.shape, dtype=np.bool_))
    found = stage.candidates(
        rows,
        np.full(PEOPLE, now),
        mix(purpose_key(1, "test"), rows),
        HistoryState(PEOPLE).view(rows),
        seen,
        6,
    )
    assert found.shape == (PEOPLE, stage.width) == (PEOPLE, Sources().total)
    best = [v for v in range(VIDEOS) if v <= now and not (v < 120 and v % 2 == 0)]
    for row in found:
        real = row[row >= 0]
        assert len(set(real.tolist())) == len(real)
        assert not seen.contains(rows[:1], real[None]).any()
        assert real.max() <= now
        assert set(best[:PROPOSED]) <= set(real.tolist())
        assert PROPOSED < len(real) <= PROPOSED + IMPERSONAL.total


def test_who_has_seen_everything_is_shown_some_again() -> None:
    catalogue = Catalogue.build(np.arange(20), upload_ms=np.arange(20))
    stage = PolicyRetrieval(Ascending(), catalogue)
    rows = np.arange(PEOPLE, dtype=np.int64)
    seen = SeenVideos(PEOPLE, 20, 400)
    shown = np.tile(np.arange(3, 20, dtype=np.int32), (PEOPLE, 1))
    seen.add_page(rows, shown, np.ones(shown.shape, dtype=np.bool_))
    key = mix(purpose_key(1, "test"), rows)
    history = HistoryState(PEOPLE).view(rows)
    found = stage.candidates(rows, np.full(PEOPLE, 99), key, history, seen, 6)
    for row in found:
        real = row[row >= 0].tolist()
        assert len(real) == len(set(real)) >= 6
        assert {0, 1, 2} <= set(real)


def test_proposals_are_the_highest_scores(small_log: Path) -> None:
    dataset = Dataset.open(small_log)
    policy = create("two-tower", epochs=1, epoch_steps=1, dim=8, text_dim=8)
    policy.fit(dataset, seed=1)
    users = np.arange(20, dtype=np.int32)
    history = initial_history(dataset, users).view(users)
    among = np.arange(3, 1_000, 7, dtype=np.int32)
    found = policy.propose_videos(history, among, 5)
    requests = video_requests(dataset, initial_history(dataset, users), users)
    scores = np.full((20, 1_200), -np.inf)
    for video in among:
        one = np.full((20, 1), video, dtype=np.int32)
        policy.reset(20)
        scores[:, video] = policy.score_videos(
            type(requests)(**{**vars(requests), "candidates": one})
        )[:, 0]
    best = -np.sort(-scores, axis=1)[:, :5]
    assert found is not None
    np.testing.assert_allclose(np.take_along_axis(scores, found, axis=1), best, atol=1e-4)
    assert np.isin(found, among).all()


def test_run_with_a_candidate_stage(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    (tmp_path / "abtest.toml").write_text(
        'treatment = "popular"\ncontrol = "random"\ncandidates = "two-tower"\nusers = 120\n'
        "burn_in_days = 1\n[policies.two-tower]\nepochs = 1\nepoch_steps = 1\n"
        "dim = 8\ntext_dim = 8\n"
    )
    run = abtest("run", "--data", small_log, "--out", "one")
    assert run.code == 0, run.err
    context = json.loads((tmp_path / "one" / "results.json").read_text())["context"]
    assert context["candidates"]["policy"] == "two-tower"
    assert 'candidates = "two-tower"' in context["configuration"]
    assert "--candidates two-tower" in context["command"]
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert "candidates.policy" in page
    (tmp_path / "abtest.toml").unlink()
    plain = abtest("run", "-t", "popular", "-c", "random", "--users", 120, "--burn-in-days", 1,
                   "--data", small_log, "--out", "plain")  # fmt: skip
    assert plain.code == 0, plain.err
    assert (tmp_path / "plain" / "outcomes.parquet").read_bytes() != (
        tmp_path / "one" / "outcomes.parquet"
    ).read_bytes()


def test_a_policy_that_proposes_nothing_is_refused(abtest: Run, small_log: Path) -> None:
    refused = abtest("run", "--data", small_log, "--candidates", "popular", "--out", "run")
    assert refused.code == 2
    assert "ranks candidates and proposes none" in refused.err
    assert "--candidates two-tower" in refused.err
    assert not Path("run").exists()
