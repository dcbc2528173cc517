"""Run the policy contract against a policy.

Every check is an experiment on the policy's scores; an exception inside the policy fails the
check that met it and is reported in its own words. That a policy cannot see the future needs no
check here: it is trained on the log before the experiment, and a request holds only the past.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from abtest.run.arms.foreign import make
from policies.base import Policy, Scores
from policies.errors import PolicyContractError
from policies.ranking import checked_video_scores, rank_comments
from policies.registry import create
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import initial_history
from simulator.randomness import mix, purpose_key
from simulator.requests import CommentRequests, HistoryState, VideoRequests

PEOPLE = 64
_CANDIDATES = 40
_COMMENTS = 16
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class CheckResult:
    """One check: its name, whether it passed, and what was seen."""

    name: str
    passed: bool
    detail: str


class _Failed(Exception):
    """A check's own verdict."""


def check_policy(spec: str, dataset: Dataset) -> list[CheckResult]:
    """Run the whole contract.

    Args:
        spec: A policy's name, or ``file.py:Class``.
        dataset: A log to train and score on; a small one keeps this short.

    Raises:
        UnknownPolicy: there is no such policy.
    """
    make(spec, {})
    runner = _Runner(spec, dataset)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("trains on a log", runner.trains),
        ("scores: finite, right shape", runner.scores),
        ("comments: a full order, or none", runner.comments),
        ("same request, same scores", runner.repeatable),
        ("a batch of 1 equals its row in a batch of 64", runner.batches),
        ("candidate order is irrelevant", runner.order),
        ("new people and empty histories", runner.strangers),
        ("inputs and global random state untouched", runner.untouched),
        ("save and load", runner.saved),
        ("same seed, same scores, in another process too", runner.another_process),
        ("speed and memory", runner.speed),
    ]
    results = []
    for name, run in checks:
        try:
            results.append(CheckResult(name, True, run()))
        except _Failed as failure:
            results.append(CheckResult(name, False, str(failure)))
        except PolicyContractError as error:
            results.append(CheckResult(name, False, _with_ids(error, dataset)))
        except (
            Exception,
            SystemExit,
        ) as error:  # what somebody's policy raises is a result
            results.append(CheckResult(name, False, f"{type(error).__name__}: {error}"))
        if name == "trains on a log" and not results[-1].passed:
            break
    return results


def _with_ids(error: PolicyContractError, dataset: Dataset) -> str:
    """The problem, with the ids of the log instead of places in the catalogue."""
    if error.place is None:
        return error.problem
    what, item, user = error.place
    catalogue = dataset.catalogue()
    ids = catalogue.video_ids if what == "video" else catalogue.comment_ids
    name = error.problem.split(" returned ")[0]
    return (
        f"{name} returned a non-finite score for {what} {ids[item]} "
        f"(user {_user_id(dataset, user)})"
    )


def _user_id(dataset: Dataset, user: int) -> str:
    """Of a user of the log; of a stranger, what people call one."""
    ids = dataset.user_ids()
    return str(ids[user]) if user < len(ids) else "without a history"


class _Runner:
    """A policy fitted once, and requests to put to it."""

    def __init__(self, spec: str, dataset: Dataset) -> None:
        self.spec, self.dataset = spec, dataset
        self.policy: Policy = create(spec)
        users = np.arange(min(PEOPLE, len(dataset.user_ids())), dtype=np.int32)
        self.history = initial_history(dataset, users)
        self.requests = video_requests(dataset, self.history, users)

    def score(self, policy: Policy, requests: VideoRequests) -> Scores:
        policy.reset(PEOPLE)
        return checked_video_scores(policy, requests)

    def trains(self) -> str:
        started = time.perf_counter()
        self.policy.fit(self.dataset, seed=1)
        return f"{time.perf_counter() - started:.1f} s"

    def scores(self) -> str:
        scores = self.score(self.policy, self.requests)
        if scores.dtype != np.float32:
            raise _Failed(f"scores are {scores.dtype}, expected float32")
        return f"{scores.shape[0]} requests, {scores.shape[1]} candidates"

    def comments(self) -> str:
        requests = comment_requests(self.dataset, self.history, self.requests)
        if requests is None:
            return "the log has no comments"
        self.policy.reset(PEOPLE)
        ranked = rank_comments(self.policy, requests)
        if not np.array_equal(np.sort(ranked, axis=1), np.sort(requests.candidates, axis=1)):
            raise _Failed("the ranked comments are not a permutation of the candidates")
        own = self.policy.score_comments(requests) is not None
        return "its own order" if own else "the platform's order"

    def repeatable(self) -> str:
        first = self.score(self.policy, self.requests)
        _same(first, self.score(self.policy, self.requests), "scores changed on repetition")
        again = checked_video_scores(self.policy, self.requests)
        _same(first, again, "scores changed without a reset")
        return ""

    def batches(self) -> str:
        whole = self.score(self.policy, self.requests)
        for row in (0, len(whole) // 2, len(whole) - 1):
            alone = self.score(self.policy, _pick(self.requests, np.array([row])))
            user = _user_id(self.dataset, int(self.requests.user[row]))
            _same(whole[row : row + 1], alone, f"the request of user {user} scores otherwise alone")
        return ""

    def order(self) -> str:
        whole = self.score(self.policy, self.requests)
        shuffle = np.random.default_rng(5).permutation(whole.shape[1])
        moved = _replace(self.requests, candidates=self.requests.candidates[:, shuffle])
        _same(whole[:, shuffle], self.score(self.policy, moved), "scores depend on candidate order")
        return ""

    def strangers(self) -> str:
        people = np.arange(8, dtype=np.int32)
        users = people + len(self.dataset.user_ids()) + 1_000
        empty = HistoryState(len(people))
        requests = video_requests(self.dataset, empty, users.astype(np.int32))
        self.score(self.policy, requests)
        return ""

    def untouched(self) -> str:
        before = _fingerprint(self.requests)
        states = _random_states()
        self.score(self.policy, self.requests)
        after = _random_states()
        if before != _fingerprint(self.requests):
            raise _Failed("the policy changed its inputs")
        for name, state in states.items():
            if after[name] != state:
                raise _Failed(f"the policy draws from {name}'s global random state")
        return ""

    def saved(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            self.policy.save(Path(folder))
            size = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
            other = create(self.spec)
            other.load(Path(folder), self.dataset)
        _same(
            self.score(self.policy, self.requests),
            self.score(other, self.requests),
            "scores changed by saving and loading",
        )
        return f"{size / 1e6:.1f} MB"

    def another_process(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "scores.npy"
            code = (
                "import sys\nfrom abtest.policy_tools.check import write_scores\n"
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
                raise _Failed(f"failed in another process: {last}")
            there = np.load(target, allow_pickle=False)
        here = self.score(self.policy, self.requests)
        _same(here, there, "the same seed gave other scores in another process")
        return ""

    def speed(self) -> str:
        self.score(self.policy, self.requests)
        tracemalloc.start()
        started = time.perf_counter()
        for _ in range(5):
            self.score(self.policy, self.requests)
        seconds = (time.perf_counter() - started) / 5
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return f"{1e6 * seconds / PEOPLE:.0f} us per cold request, {peak / 1e6:.1f} MB at most"


def write_scores(spec: str, dataset_path: str, target: str) -> None:
    """Fit and score as `check_policy` does; run in another process."""
    runner = _Runner(spec, Dataset.open(Path(dataset_path)))
    runner.policy.fit(runner.dataset, seed=1)
    np.save(target, runner.score(runner.policy, runner.requests), allow_pickle=False)


def video_requests(
    dataset: Dataset, history: HistoryState, users: Any, time_ms: int | None = None
) -> VideoRequests:
    """Requests with random candidates, one per row of a history state."""
    n_videos = dataset.catalogue().n_videos
    span = dataset.info.time_span_ms
    rows = np.arange(len(users), dtype=np.int32)
    width = min(_CANDIDATES, n_videos)
    order = np.argsort(np.random.default_rng(3).random((len(users), n_videos)), axis=1)
    return VideoRequests(
        row=rows,
        user=np.asarray(users, dtype=np.int32),
        time_ms=np.full(len(users), time_ms or (span[1] if span else 0), dtype=np.int64),
        key=mix(purpose_key(0, "check.request"), rows),
        candidates=order[:, :width].astype(np.int32),
        history=history.view(rows),
    )


def comment_requests(
    dataset: Dataset, history: HistoryState, requests: VideoRequests
) -> CommentRequests | None:
    """Sections of each request's first candidate that has comments; None without comments."""
    catalogue = dataset.catalogue()
    if catalogue.n_comments == 0:
        return None
    commented = np.flatnonzero(np.diff(catalogue.comment_offsets) > 0)
    video = commented[np.arange(len(requests.row)) % len(commented)].astype(np.int32)
    return CommentRequests(
        row=requests.row,
        user=requests.user,
        time_ms=requests.time_ms,
        key=requests.key,
        video=video,
        candidates=catalogue.comments_of(video, _COMMENTS),
        history=history.view(requests.row),
    )


def _pick(requests: VideoRequests, index: Any) -> VideoRequests:
    return VideoRequests(
        row=requests.row[index],
        user=requests.user[index],
        time_ms=requests.time_ms[index],
        key=requests.key[index],
        candidates=requests.candidates[index],
        history=requests.history.select(index),
    )


def _replace(requests: VideoRequests, candidates: Any) -> VideoRequests:
    return VideoRequests(
        row=requests.row,
        user=requests.user,
        time_ms=requests.time_ms,
        key=requests.key,
        candidates=candidates,
        history=requests.history,
    )


def _same(first: Scores, second: Scores, problem: str) -> None:
    if first.shape != second.shape:
        raise _Failed(f"{problem}: shape {first.shape} is not {second.shape}")
    scale = max(float(np.abs(first).max(initial=0.0)), 1.0)
    worst = float(np.abs(first - second).max(initial=0.0)) / scale
    if not worst <= _TOLERANCE:
        raise _Failed(f"{problem} (by up to {worst:.2g} of the largest score)")


def _fingerprint(requests: VideoRequests) -> tuple[bytes, ...]:
    arrays = (requests.row, requests.user, requests.time_ms, requests.key, requests.candidates)
    histories = tuple(
        requests.history.videos(s).tobytes() for s in ("clicked", "liked", "discussed")
    )
    return (*[a.tobytes() for a in arrays], *histories, requests.history.comments().tobytes())


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
