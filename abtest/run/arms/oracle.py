"""Rank by the simulated world's truth, to show how much a ranker could gain at most.

An oracle is named like a policy and ranks the treatment's pages in an experiment on the built-in
world. It cannot be deployed, be the control, or run where nobody knows the truth: on people
learned from a log, in replay, in offline evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from abtest.errors import UsageError
from policies.base import Policy, Progress, Scores, silent
from policies.errors import PolicyError
from policies.registry import policy_class
from simulator.comment_sections import CommentSections
from simulator.feed import FeedSettings
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, Int32, VideoRequests
from simulator.response.base import Population
from simulator.response.truth import SWIPE_SECONDS, WorldPopulation

VALUES = ("comment_time", "comment_rate", "clicks")
_BLOCK = 2_048
"""Candidate sections weighed at once, for the processor's cache."""


class Oracle(Policy):
    """Best videos and comments by the truth.

    Videos are ranked by what one impression yields in expectation, given the person as they are at
    this moment. That is one step ahead: it does not plan the session, so it is head room, not an
    upper bound. Comments are put in the order of longest expected stay, see
    `simulator.response.reading.comment_index`.

    Args:
        value: ``comment_time``, the probability of opening the comments times the expected stay;
            ``comment_rate``, the same per second that the impression takes from the session, which
            fills a limited session with more comments, at the cost of play time; or ``clicks``.
    """

    is_oracle: ClassVar[bool] = True
    ranks: ClassVar[tuple[str, ...]] = ("videos", "comments")

    def __init__(self, value: str = "comment_time") -> None:
        super().__init__()
        if value not in VALUES:
            raise UsageError(f"value is '{value}', expected one of {', '.join(VALUES)}.")
        self._value = value
        self._people: WorldPopulation | None = None
        self._base: Policy | None = None
        self._sections: CommentSections | None = None

    def settings(self) -> dict[str, Any]:
        """Constructor settings."""
        return {"value": self._value}

    def attach(self, population: Population, catalogue: Catalogue, base: Policy) -> None:
        """Look at these people from now on.

        Args:
            population: The people of the group being simulated, in their present state.
            catalogue: The inventory.
            base: The control; it does what this oracle leaves alone.

        Raises:
            UsageError: the people are not of the built-in world.
        """
        if not isinstance(population, WorldPopulation):
            raise UsageError(_unknown_truth(self.name), _REMEDY)
        self._people = population
        self._base = base
        self._sections = CommentSections(catalogue, FeedSettings().comment_limit)

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Nothing to learn: the truth is known.

        Raises:
            UsageError: the log is not of the built-in world.
        """
        check_dataset([self.name], dataset)

    def training_summary(self) -> dict[str, Any]:
        """What every report must say."""
        return {"oracle": ORACLE_NOTE}

    def score_videos(self, requests: VideoRequests) -> Scores:
        """Expected value of each candidate."""
        people, sections, base = self._attached()
        if "videos" not in self.ranks:
            return base.score_videos(requests)
        rows, videos = requests.row.astype(np.int64), requests.candidates
        preview = sections.previews(videos, requests.time_ms)
        expected = people.expectations(
            rows, videos, preview, people.in_grid(rows, requests.key), requests.time_ms
        )
        if self._value == "clicks":
            return expected.click
        comments = expected.open * self._stay(people, sections, requests)
        if self._value == "comment_time":
            return comments
        c = people.world.config
        page = people.page(rows, videos, people.in_grid(rows, requests.key), requests.time_ms)
        refund = c.session_refund * page.pleasure * expected.click
        seconds = (expected.play_seconds + comments) * (1.0 - refund)
        seconds += SWIPE_SECONDS + c.session_skip_cost * (1.0 - expected.click)
        seconds += c.session_video_cost
        return np.asarray(comments / seconds, dtype=np.float32)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """The index that orders a section for the longest expected stay."""
        people, _, base = self._attached()
        if "comments" not in self.ranks:
            return base.score_comments(requests)
        return people.comment_index(requests.row.astype(np.int64), requests.candidates)

    def _stay(
        self, people: WorldPopulation, sections: CommentSections, requests: VideoRequests
    ) -> Scores:
        """float32[B, C]: expected stay in each candidate's section, once opened.

        In the best order if this oracle ranks comments, in the platform's order otherwise.
        """
        stay = np.zeros(requests.candidates.shape, dtype=np.float32)
        at, slot = np.nonzero(requests.candidates >= 0)
        for first in range(0, len(at), _BLOCK):
            b, c = at[first : first + _BLOCK], slot[first : first + _BLOCK]
            rows = requests.row[b].astype(np.int64)
            comments = sections.candidates(requests.candidates[b, c], requests.time_ms[b])
            if "comments" in self.ranks:
                comments = _descending(comments, people.comment_index(rows, comments))
            stay[b, c] = people.expected_stay_seconds(rows, comments)
        return stay

    def _attached(self) -> tuple[WorldPopulation, CommentSections, Policy]:
        if self._people is None or self._sections is None or self._base is None:
            raise PolicyError(_only_in_run(self.name), _REMEDY)
        return self._people, self._sections, self._base


class OracleVideo(Oracle):
    """Best videos by the truth; comments as the control orders them."""

    ranks = ("videos",)


class OracleComments(Oracle):
    """Best comments by the truth; videos as the control ranks them."""

    ranks = ("comments",)


ORACLE_NOTE = "reads the simulated world's truth and cannot be deployed"
_REMEDY = "Example: abtest run -t oracle -c popular"


def _unknown_truth(name: str) -> str:
    return (
        f"'{name}' is an oracle: it reads the simulated world's truth, and of people in a real log "
        "nobody knows it."
    )


def _only_in_run(name: str) -> str:
    return (
        f"'{name}' is an oracle: it reads the simulated world's truth and works only as a "
        "treatment of abtest run on the built-in world."
    )


def _descending(comments: Int32, index: Scores) -> Int32:
    order = np.argsort(-index, axis=1, kind="stable")
    return np.take_along_axis(comments, order, axis=1)


def oracles(specs: Iterable[str]) -> list[str]:
    """Which of these policies are oracles."""
    return [spec for spec in specs if policy_class(spec).is_oracle]


def refuse_oracles(specs: Iterable[str]) -> None:
    """For every command but ``run``.

    Raises:
        UsageError: one of the policies is an oracle.
    """
    for name in oracles(specs):
        raise UsageError(_only_in_run(name), _REMEDY)


def check_control(control: str) -> None:
    """Refuse an oracle as the policy in force.

    Raises:
        UsageError: it is one.
    """
    if oracles([control]):
        raise UsageError(
            f"'{control}' is an oracle: it {ORACLE_NOTE}, so it cannot be the control.",
            "Nothing was run",
        )


def check_dataset(specs: Iterable[str], dataset: Dataset) -> None:
    """Refuse oracles where nobody knows the truth.

    Raises:
        UsageError: one of the policies is an oracle, and the log is not of the built-in world.
    """
    if dataset.info.world is None:
        for name in oracles(specs):
            raise UsageError(_unknown_truth(name), _REMEDY)


def attach_oracles(
    policies: Iterable[Policy], population: Population, catalogue: Catalogue, base: Policy
) -> None:
    """Let every oracle among these policies look at the group being simulated."""
    for policy in policies:
        if isinstance(policy, Oracle):
            policy.attach(population, catalogue, base)
