"""Ranks of held-out videos against a walk over the log, and means with their two kinds of error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from policies.base import Policy, Progress, Scores, silent
from policies.errors import PolicyError
from policies.evaluation.candidates import CommentCandidates
from policies.evaluation.case_history import history_at
from policies.evaluation.comment_visits import visits_held_out
from policies.evaluation.evaluate import rank_cases, ranks, summarise
from policies.evaluation.holdout import HeldOut, held_out, split_time, training_part
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, VideoRequests
from tests.policies.comment_log import MINUTE, START_MS, random_log, write


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("comments") / "log", random_log(6))


class LastInTheCatalogue(Policy):
    """Puts the videos with the largest numbers first."""

    def fit(self, dataset: object, *, seed: int, progress: Progress = silent) -> None:
        """Nothing is to be learned."""

    def score_videos(self, requests: VideoRequests) -> Scores:
        """The number itself."""
        return requests.candidates.astype(np.float32)

    def score_comments(self, requests: CommentRequests) -> Scores:
        """The number itself."""
        return requests.candidates.astype(np.float32)


def test_the_rank_is_the_number_of_new_videos_that_are_put_before(
    log: Dataset, tmp_path: Path
) -> None:
    test = held_out(log, "liked")
    training = training_part(log, test, tmp_path / "training")
    found = ranks(LastInTheCatalogue(), training, test, "liked")
    likes = log.scan("impressions").filter(pl.col("is_like") == 1).collect()
    catalogue = log.catalogue()
    expected = []
    for user, video, time in zip(test.user, test.video, test.time_ms, strict=True):
        mine = likes.filter(
            (pl.col("user_id") == int(log.user_ids()[user])) & (pl.col("time_ms") < int(time))
        )
        seen = set(mine["video_id"])
        expected.append(
            sum(
                catalogue.upload_ms[v] <= time and int(catalogue.video_ids[v]) not in seen
                for v in range(video + 1, catalogue.n_videos)
            )
        )
    assert found.tolist() == expected
    assert len(set(expected)) > 5


def test_the_best_candidates_of_a_case_are_kept_and_those_that_compete_counted(
    log: Dataset,
) -> None:
    test = visits_held_out(log)
    candidates = CommentCandidates(log, test)
    ranked = rank_cases(LastInTheCatalogue(), test, candidates, history_at(log, test))
    assert ranked is not None
    expected = np.full((len(test), 10), -1)
    competing: list[int] = []
    for block in CommentCandidates(log, test).blocks():
        for case, row, competes in zip(block.rows, block.candidates, block.competes, strict=True):
            best = sorted(row[competes].tolist(), reverse=True)
            expected[case, : len(best)] = best
            competing += best
    assert ranked.top.tolist() == expected.tolist()
    assert (expected[:, -1] == -1).all(), "sections are smaller than ten"
    assert ranked.offered == len(set(competing))
    assert ranked.competing == pytest.approx(len(competing) / len(test))
    for case, ranks_of_case in enumerate(ranked.ranks):
        chosen = [c for c in test.positives[case] if c >= 0]
        places = sorted(expected[case].tolist().index(c) for c in chosen)
        assert ranks_of_case[: len(places)].tolist() == places
        assert (ranks_of_case[len(places) :] == -1).all()


def test_ranks_do_not_depend_on_how_many_scores_fit_into_memory(
    log: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = held_out(log, "liked")
    training = training_part(log, test, tmp_path / "training")
    whole = ranks(LastInTheCatalogue(), training, test, "liked")
    monkeypatch.setattr("policies.evaluation.candidates.CELLS", log.catalogue().n_videos - 1)
    assert ranks(LastInTheCatalogue(), training, test, "liked").tolist() == whole.tolist()


def test_means_have_an_error_over_people_and_one_over_seeds() -> None:
    """Two people, whose MRR is 1 and 1/4, then 1/2 and 1/4."""
    one = summarise("p", 7, [np.array([0, 3])])
    assert (one.policy, one.videos, one.users, one.seeds) == ("p", 7, 2, 1)
    assert one.spread is None
    assert one.metrics["MRR"] == pytest.approx(0.625)
    assert one.errors["MRR"] == pytest.approx(0.375)  # 0.75 / sqrt(2) / sqrt(2)
    two = summarise("p", 7, [np.array([0, 3]), np.array([1, 3])])
    assert two.seeds == 2
    assert two.metrics["MRR"] == pytest.approx(0.5)  # of 0.75 and 0.25
    assert two.errors["MRR"] == pytest.approx(0.25)
    assert two.spread is not None
    assert two.spread["MRR"] == pytest.approx(0.125)  # means of 0.625 and 0.375
    alone = summarise("p", 7, [np.array([1])])
    assert alone.errors == dict.fromkeys(alone.metrics, 0.0)


def test_a_history_does_not_depend_on_who_else_is_asked(log: Dataset) -> None:
    test = held_out(log, "liked")
    all_of_them = history_at(log, test)
    for row in (0, 1):
        one = HeldOut(
            *(
                getattr(test, name)[row : row + 1]
                for name in ("user", "video", "time_ms", "cut_ms", "positives")
            )
        )
        found, expected = (
            history_at(log, one).view(np.arange(1)), all_of_them.view(np.array([row]))
        )  # fmt: skip
        assert (expected.videos("liked") >= 0).any()
        for signal in ("liked", "clicked"):
            assert np.array_equal(found.videos(signal), expected.videos(signal))


def test_days_of_a_split_are_days(tmp_path: Path) -> None:
    tables = random_log(8)
    days = pl.int_range(pl.len()) % 5
    tables["impressions"] = tables["impressions"].with_columns(
        time_ms=START_MS + days * 24 * 60 * MINUTE
    )
    log = write(tmp_path / "log", tables)
    assert log.info.time_span_ms == (START_MS, START_MS + 4 * 86_400_000)
    for test_days in (1, 2.5):
        cut = split_time(log, days=test_days)
        assert cut == START_MS + 4 * 86_400_000 + 1 - test_days * 86_400_000
    # All but the first moment may be asked for; with it nothing would be left to learn from.
    assert split_time(log, days=4) == START_MS + 1
    with pytest.raises(PolicyError, match=r"the log of .* is 4 days long"):
        split_time(log, days=4 + 1 / 86_400_000)


@pytest.mark.parametrize(
    ("since", "said"), [(None, "twice: nothing can be held"), (START_MS, "the second time in it")]
)
def test_one_comment_visit_of_everybody_is_not_enough(
    tmp_path: Path, since: int | None, said: str
) -> None:
    tables = random_log(9)
    tables["comment_events"] = (
        tables["comment_events"].sort("time_ms").unique("user_id", keep="first")
    )
    log = write(tmp_path / "log", tables)
    with pytest.raises(PolicyError, match=said):
        visits_held_out(log, since_ms=since)
