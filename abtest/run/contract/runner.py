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
from abtest.run.contract.logs import continued, cut, forbidden_import, without_notes
from abtest.run.contract.requests import (
    PEOPLE,
    comment_requests,
    fingerprint,
    video_requests,
    with_candidates,
)
from policies.base import Policy, Scores
from policies.ranking import checked_video_scores, rank_comments
from policies.registry import policy_class
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import initial_history
from simulator.requests import HistoryState, VideoRequests

CALL_SECONDS = 20.0
"""One call of a policy that is not ours may take so long in a check, if `SECONDS` is not set."""
REQUEST_MS = 50.0
"""Limit per cold request: 20,000 people make about a million requests a day."""
_LARGE = 5_000_000
_TOLERANCE = 1e-4


class Broken(Exception):
    """A rule's own verdict."""


class Differs(Broken):
    """Scores that should be the same are not."""


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
        users = np.arange(min(PEOPLE, len(dataset.user_ids())), dtype=np.int32)
        self.history = initial_history(dataset, users)
        self.requests = video_requests(dataset, self.history, users)

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

    def score(self, policy: Policy, requests: VideoRequests) -> Scores:
        """Scores after a reset."""
        policy.reset(PEOPLE)
        return checked_video_scores(policy, requests)

    def trains(self) -> str:
        """It can be fitted."""
        started = time.perf_counter()
        self.policy.fit(self.dataset, seed=1)
        return f"{time.perf_counter() - started:.1f} s"

    def scores(self) -> str:
        """Finite, float32, one per candidate."""
        scores = self.score(self.policy, self.requests)
        _float32(scores, "score_videos")
        return f"{scores.shape[0]} requests, {scores.shape[1]} candidates"

    def comments(self) -> str:
        """A full order of every section, or None."""
        requests = comment_requests(self.dataset, self.history, self.requests)
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
        first = self.score(self.policy, self.requests)
        _same(first, self.score(self.policy, self.requests), "scores changed on repetition")
        again = checked_video_scores(self.policy, self.requests)
        _same(first, again, "scores changed without a reset")
        return ""

    def batches(self) -> str:
        """What else is in a batch does not matter."""
        whole = self.score(self.policy, self.requests)
        for row in (0, len(whole) // 2, len(whole) - 1):
            alone = self.score(self.policy, self.requests.select(np.array([row])))
            user = user_id(self.dataset, int(self.requests.user[row]))
            _same(whole[row : row + 1], alone, f"the request of user {user} scores otherwise alone")
        return ""

    def order(self) -> str:
        """The order of candidates does not matter."""
        whole = self.score(self.policy, self.requests)
        shuffle = np.random.default_rng(5).permutation(whole.shape[1])
        moved = with_candidates(self.requests, self.requests.candidates[:, shuffle])
        _same(whole[:, shuffle], self.score(self.policy, moved), "scores depend on candidate order")
        return ""

    def stateless(self) -> str:
        """Who was served before, in which order and in which process, does not matter."""
        expected = self.score(self.fresh(), self.requests)
        users = self.requests.user
        later = self.fresh()
        others = video_requests(self.dataset, HistoryState(len(users)), users + len(users), seed=11)
        self.score(later, others)
        problem = "scores depend on the people served before: other --workers, other results"
        _same(expected, self.score(later, self.requests), problem)
        later = self.fresh()
        later.reset(PEOPLE)
        parts = np.array_split(np.arange(len(users)), 4)
        found = {}
        for i in (3, 1, 0, 2):
            found[i] = checked_video_scores(later, self.requests.select(parts[i]))
        pieces = np.concatenate([found[i] for i in range(4)])
        _same(expected, pieces, "scores depend on the requests before them")
        return ""

    def strangers(self) -> str:
        """New people without a history are ranked for as well."""
        people = np.arange(8, dtype=np.int32)
        users = people + len(self.dataset.user_ids()) + 1_000
        empty = HistoryState(len(people))
        self.score(self.policy, video_requests(self.dataset, empty, users.astype(np.int32)))
        return ""

    def untouched(self) -> str:
        """It changes neither its inputs nor a global random state."""
        before = fingerprint(self.requests)
        states = _random_states()
        self.score(self.policy, self.requests)
        after = _random_states()
        if before != fingerprint(self.requests):
            raise Broken("the policy changed its inputs")
        for name, state in states.items():
            if after[name] != state:
                raise Broken(f"the policy draws from {name}'s global random state")
        return ""

    def saved(self) -> str:
        """It is the same after saving and loading."""
        weights = self._there / "weights"
        weights.mkdir()
        self.policy.save(weights)
        size = sum(f.stat().st_size for f in weights.rglob("*") if f.is_file())
        _same(
            self.score(self.policy, self.requests),
            self.score(self._loaded(), self.requests),
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
        requests = video_requests(past, initial_history(past, users), users, now)
        before = self.score(policy, requests)
        continued(past.path, self.dataset)
        problem = "scores changed when only later events were added to the log: it sees the future"
        _same(before, self.score(policy, requests), problem)
        return ""

    def world(self) -> str:
        """It knows the log, not the platform that wrote it."""
        found = forbidden_import(policy_class(self.spec))
        if found is not None:
            raise Broken(f"imports the simulated platform ({found}); no real platform has that")
        other = self._new()
        other.fit(without_notes(self.dataset, self._there / "plain"), seed=1)
        problem = "scores changed when dataset.json did not name the simulated world"
        _same(self.score(self.policy, self.requests), self.score(other, self.requests), problem)
        return ""

    def another_process(self) -> str:
        """The same seed gives the same scores elsewhere."""
        target = self._there / "scores.npy"
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
        there = np.load(target, allow_pickle=False)
        here = self.score(self.policy, self.requests)
        _same(here, there, "the same seed gave other scores in another process")
        return ""

    def speed(self) -> str:
        """Cold requests are answered in time."""
        self.score(self.policy, self.requests)
        tracemalloc.start()
        started = time.perf_counter()
        self.score(self.policy, self.requests)
        seconds = time.perf_counter() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        each = 1e3 * seconds / len(self.requests.row)
        if each > REQUEST_MS:
            raise Broken(
                f"{each:,.0f} ms per request, limit {REQUEST_MS:g}: 20,000 people make about a "
                f"million requests a day, {each * 1e3 / 3600:,.0f} hours"
            )
        return f"{1e3 * each:.0f} us per cold request, {peak / 1e6:.1f} MB at most"


def write_scores(spec: str, dataset_path: str, target: str) -> None:
    """Fit and score as the checks do; run in another process."""
    runner = Runner(spec, Dataset.open(Path(dataset_path)))
    runner.policy.fit(runner.dataset, seed=1)
    np.save(target, runner.score(runner.policy, runner.requests), allow_pickle=False)
    runner.close()


def _float32(scores: Scores, method: str) -> None:
    if scores.dtype != np.float32:
        raise Broken(f"{method} gives {scores.dtype}, expected float32: add .astype(np.float32)")


def _same(first: Scores, second: Scores, problem: str) -> None:
    if first.shape != second.shape:
        raise Differs(f"{problem}: shape {first.shape} is not {second.shape}")
    scale = max(float(np.abs(first).max(initial=0.0)), 1.0)
    worst = float(np.abs(first - second).max(initial=0.0)) / scale
    if not worst <= _TOLERANCE:
        raise Differs(f"{problem} (by up to {worst:.2g} of the largest score)")


def _random_states() -> dict[str, bytes]:
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - the global state is what is meant
    states = {"Python": repr(random.getstate()).encode(), "numpy": _bytes_of(legacy)}
    torch = sys.modules.get("torch")
    if torch is not None:
        states["torch"] = torch.get_rng_state().numpy().tobytes()
    return states


def _bytes_of(state: Any) -> bytes:
    inner = state["state"]
    return bytes(inner["key"].tobytes()) + repr((inner["pos"], state["gauss"])).encode()
