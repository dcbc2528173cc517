"""Put a policy through one experiment per rule of the contract."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from abtest.run.arms.foreign import SECONDS, guarded, make, seconds_per_call
from abtest.run.arms.places import user_id
from abtest.run.contract.answers import Answers, Broken, Differs, Questions, same
from abtest.run.contract.logs import continued, cut, forbidden_import, without_notes
from abtest.run.contract.requests import PEOPLE, with_candidates
from policies.base import Policy, Scores
from policies.ranking import checked_video_scores, rank_comments
from policies.registry import policy_class
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import initial_history
from simulator.requests import HistoryState

CALL_SECONDS = 20.0
"""One call of a policy that is not ours may take so long in a check, if `SECONDS` is not set."""
REQUEST_MS = 50.0
"""Limit per cold request: 20,000 people make about a million requests a day."""
_LARGE = 5_000_000


class Runner:
    """A policy, and requests to put to it.

    Args:
        spec: A policy's name, or ``file.py:Class``.
        dataset: A log.
        fitted: Gives the fitted policy, from weights on disk; None for one that is trained by
            `trains`, and then saved.
    """

    def __init__(
        self, spec: str, dataset: Dataset, fitted: Callable[[], Policy] | None = None
    ) -> None:
        self.spec, self.dataset = spec, dataset.for_policies()
        self._folder = tempfile.TemporaryDirectory(prefix="abtest-check-")
        self._there = Path(self._folder.name)
        self.fresh = fitted or self._loaded
        self.policy = self._new() if fitted is None else fitted()
        self.asked = self._questions()

    def _questions(self) -> Questions:
        users = np.arange(min(PEOPLE, len(self.dataset.user_ids())), dtype=np.int32)
        return Questions.of(self.dataset, initial_history(self.dataset, users), users)

    def close(self) -> None:
        """Remove what was written."""
        self._folder.cleanup()

    def _new(self) -> Policy:
        # Who sets the limit of a run means the check too: its message says how to allow more.
        asked = seconds_per_call()
        seconds = asked if SECONDS in os.environ else min(CALL_SECONDS, asked)
        return guarded(self.spec, make(self.spec, {}), seconds)

    def _loaded(self) -> Policy:
        policy = self._new()
        policy.load(self._there / "weights", self.dataset)
        return policy

    def score(self, policy: Policy, asked: Questions) -> Answers:
        """Scores after a reset."""
        policy.reset(PEOPLE)
        return asked.put_to(policy)

    def trains(self) -> str:
        """It can be fitted."""
        started = time.perf_counter()
        self.policy.fit(self.dataset, seed=1)
        return f"{time.perf_counter() - started:.1f} s"

    def scores(self) -> str:
        """Finite, float32, one per candidate."""
        self.policy.reset(PEOPLE)
        scores = checked_video_scores(self.policy, self.asked.videos)
        _float32(scores, "score_videos")
        return f"{scores.shape[0]} requests, {scores.shape[1]} candidates"

    def comments(self) -> str:
        """A full order of every section, or None."""
        requests = self.asked.comments
        if requests is None:
            return "the log has no comments"
        self.policy.reset(PEOPLE)
        ranked = rank_comments(self.policy, requests)
        if not np.array_equal(np.sort(ranked, axis=1), np.sort(requests.candidates, axis=1)):
            raise Broken("the ranked comments are not a permutation of the candidates")
        own = self.policy.score_comments(requests)
        if own is None:
            return "the platform's order"
        _float32(own, "score_comments")
        return "its own order"

    def repeatable(self) -> str:
        """The same request, the same scores."""
        first = self.score(self.policy, self.asked)
        same(first, self.score(self.policy, self.asked), "scores changed on repetition")
        same(first, self.asked.put_to(self.policy), "scores changed without a reset")
        return ""

    def batches(self) -> str:
        """What else is in a batch does not matter."""
        whole = self.score(self.policy, self.asked)
        for row in (0, len(self.asked) // 2, len(self.asked) - 1):
            at = np.array([row])
            alone = self.score(self.policy, self.asked.select(at))
            user = user_id(self.dataset, int(self.asked.videos.user[row]))
            same(whole.select(at), alone, f"the request of user {user} scores otherwise alone")
        return ""

    def order(self) -> str:
        """The order of candidate videos does not matter; comments come in the platform's order."""
        whole = self.score(self.policy, self.asked).videos
        shuffle = np.random.default_rng(5).permutation(whole.shape[1])
        videos = self.asked.videos
        moved = Questions(with_candidates(videos, videos.candidates[:, shuffle]), None)
        expected = Answers(whole[:, shuffle], None)
        same(expected, self.score(self.policy, moved), "scores depend on candidate order")
        return ""

    def stateless(self) -> str:
        """Who was served before, in which order, row and process, does not matter."""
        expected = self.score(self.fresh(), self.asked)
        people = len(self.asked)
        later = self.fresh()
        strangers = (self.asked.videos.user + people).astype(np.int32)
        self.score(later, Questions.of(self.dataset, HistoryState(people), strangers, seed=11))
        problem = "scores depend on the people served before: other --workers, other results"
        same(expected, self.score(later, self.asked), problem)
        later = self.fresh()
        later.reset(PEOPLE)
        parts = np.array_split(np.arange(people), 4)
        for i in (3, 1, 0, 2):
            found = self.asked.select(parts[i]).put_to(later)
            problem = "scores depend on the requests before them"
            same(expected.select(parts[i]), found, problem)
        problem = "scores depend on requests.row, a place for caches: requests.user says who it is"
        same(expected, self.score(self.fresh(), self.asked.in_other_rows()), problem)
        return ""

    def strangers(self) -> str:
        """New people without a history are ranked for as well."""
        people = np.arange(8, dtype=np.int32)
        users = (people + len(self.dataset.user_ids()) + 1_000).astype(np.int32)
        self.score(self.policy, Questions.of(self.dataset, HistoryState(len(people)), users))
        return ""

    def untouched(self) -> str:
        """It changes neither its inputs nor a global random state."""
        # Made anew: what the other rules asked may have been changed already, once for all.
        asked = self._questions()
        before, states = asked.bytes(), _random_states()
        # A policy that sets a seed leaves the same state each time.
        _draw_once()
        drawn = _random_states()
        try:
            self.score(self.policy, asked)
            after = _random_states()
        finally:
            _restore(states)
        if before != asked.bytes():
            raise Broken("the policy changed its inputs")
        for name, (_, state) in drawn.items():
            if name in after and after[name][1] != state:
                raise Broken(f"the policy draws from {name}'s global random state")
        return ""

    def saved(self) -> str:
        """It is the same after saving and loading."""
        weights = self._there / "weights"
        weights.mkdir()
        self.policy.save(weights)
        size = sum(f.stat().st_size for f in weights.rglob("*") if f.is_file())
        same(
            self.score(self.policy, self.asked),
            self.score(self._loaded(), self.asked),
            "scores changed by saving and loading",
        )
        return f"{size / 1e6:.1f} MB"

    def future(self) -> str:
        """What happens after a request does not change its scores."""
        span = self.dataset.info.time_span_ms
        if span is None or self.dataset.info.rows.get("impressions", 0) > _LARGE:
            return "not run on so large a log"
        now = int(span[0] + 0.7 * (span[1] - span[0]))
        past = cut(self.dataset, now, self._there / "past").for_policies()
        policy = self._new()
        policy.fit(past, seed=1)
        users = np.arange(min(PEOPLE, len(past.user_ids())), dtype=np.int32)
        asked = Questions.of(past, initial_history(past, users), users, now)
        before = self.score(policy, asked)
        continued(past.path, self.dataset)
        problem = "scores changed when only later events were added to the log: it sees the future"
        same(before, self.score(policy, asked), problem)
        return ""

    def world(self) -> str:
        """It knows the log, not the platform that wrote it."""
        found = forbidden_import(policy_class(self.spec))
        if found is not None:
            raise Broken(f"imports the simulated platform ({found}); no real platform has that")
        other = self._new()
        other.fit(without_notes(self.dataset, self._there / "plain"), seed=1)
        expected = self.score(self.policy, self.asked)
        problem = "scores changed when dataset.json did not name the simulated world"
        try:
            same(expected, self.score(other, self.asked), problem)
        except Differs:
            again = self._new()
            again.fit(self.dataset, seed=1)
            problem = "cannot be told, as training twice with the same seed gave other scores"
            same(expected, self.score(again, self.asked), problem)
            raise
        return ""

    def another_process(self) -> str:
        """The same seed gives the same scores elsewhere."""
        target = self._there / "scores.npz"
        code = (
            "import sys\nfrom abtest.run.contract.runner import write_scores\n"
            "write_scores(sys.argv[1], sys.argv[2], sys.argv[3])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, self.spec, str(self.dataset.path), str(target)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise Broken(f"failed in another process: {last}")
        with np.load(target, allow_pickle=False) as kept:
            videos, *comments = kept.values()
        there = Answers(videos, comments[0] if comments else None)
        here = self.score(self.policy, self.asked)
        same(here, there, "the same seed gave other scores in another process")
        return ""

    def speed(self) -> str:
        """Cold requests are answered in time."""
        videos, comments = self.asked.videos, self.asked.comments
        calls: list[Callable[[], object]] = [lambda: self.policy.score_videos(videos)]
        if comments is not None:
            calls.append(lambda: self.policy.score_comments(comments))
        self.score(self.policy, self.asked)
        self.policy.reset(PEOPLE)
        tracemalloc.start()
        seconds = [_seconds(call) for call in calls]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        each = 1e3 * max(seconds) / len(self.asked)
        if each > REQUEST_MS:
            raise Broken(
                f"{each:,.0f} ms per request, limit {REQUEST_MS:g}: 20,000 people make about a "
                f"million requests a day, {each * 1e3 / 3600:,.0f} hours"
            )
        return f"{1e3 * each:.0f} us per cold request, {peak / 1e6:.1f} MB at most"


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def write_scores(spec: str, dataset_path: str, target: str) -> None:
    """Fit and score as the checks do; run in another process."""
    runner = Runner(spec, Dataset.open(Path(dataset_path)))
    runner.policy.fit(runner.dataset, seed=1)
    found = runner.score(runner.policy, runner.asked)
    np.savez(target, *(scores for scores in (found.videos, found.comments) if scores is not None))
    runner.close()


def _float32(scores: Scores, method: str) -> None:
    if scores.dtype != np.float32:
        raise Broken(f"{method} gives {scores.dtype}, expected float32: add .astype(np.float32)")


def _random_states() -> dict[str, tuple[Any, bytes]]:
    """Of each global generator its state, and the bytes that tell it from others."""
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - the global state is what is meant
    own = random.getstate()
    states = {"Python": (own, repr(own).encode()), "numpy": (legacy, _bytes_of(legacy))}
    torch = sys.modules.get("torch")
    if torch is not None:
        state = torch.get_rng_state()
        states["torch"] = (state, state.numpy().tobytes())
    return states


def _draw_once() -> None:
    random.random()
    np.random.random()  # noqa: NPY002
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.rand(1)


def _restore(states: dict[str, tuple[Any, bytes]]) -> None:
    random.setstate(states["Python"][0])
    np.random.set_state(states["numpy"][0])  # noqa: NPY002
    if "torch" in states:
        sys.modules["torch"].set_rng_state(states["torch"][0])


def _bytes_of(state: Any) -> bytes:
    inner = state["state"]
    return bytes(inner["key"].tobytes()) + repr((inner["pos"], state["gauss"])).encode()
