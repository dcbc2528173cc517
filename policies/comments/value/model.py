"""Score comments by predicted log dwell: what is the same for all, plus a person's taste.

    score(u, c, t) = facts(c, t) . a + text(c) . b + (text(c) * caption(v)) . d + taste(u) . text(c)

`policies.comments.value.fit` estimates it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.comments.value.facts import age_facts
from policies.comments.value.taste import history_vectors, updated, visits_of
from policies.comments.value.texts import TextSpace
from policies.evaluation.dwell import log_dwell
from simulator.logs.catalogue import Catalogue
from simulator.requests import HistoryView, Int32, Int64

Float32 = NDArray[np.float32]

_BLOCK = 2_048
"""People whose reading is weighed at once: what it takes stays in the cache."""


@dataclass(frozen=True)
class ValueModel:
    """A fitted model.

    Attributes:
        space: Texts.
        common: float32[M], what each comment is worth to everybody, but for its age.
        age: float32[2], weights of `age_facts`.
        written_ms: int64[M], when each comment was written.
        until_ms: The log's end. What was read before is judged as old as it was then: a taste does
            not depend on when it is asked for.
        rank_effect: float32[R], what a place in the section adds to log dwell, the last one for all
            further places; for residuals, never for ranking.
        prior: float32[2 d, d], from `history_vectors` to a taste's prior mean.
        precision: Of the prior, see `policies.comments.value.taste`; 0 where nothing that was read
            updates it.
        personal: False: everybody's taste is 0.
    """

    space: TextSpace
    common: Float32
    age: Float32
    written_ms: Int64
    until_ms: int
    rank_effect: Float32
    prior: Float32
    precision: float
    personal: bool

    def without_taste(self) -> ValueModel:
        """The same with everybody's taste 0."""
        return replace(self, personal=False)

    def common_scores(self, comments: Int32, time_ms: Int64) -> Float32:
        """float32[B, M]: scores without taste; time int64[B]. At padding (-1), anything."""
        index = np.maximum(comments, 0)
        age = age_facts(self.written_ms[index], time_ms[:, None])
        return np.asarray(self.common[index] + age @ self.age, dtype=np.float32)

    def tastes(self, history: HistoryView) -> Float32:
        """float32[B, d] of people."""
        if self.precision > 0.0:
            (found,) = self._updated(history, (self.precision,))
            return np.asarray(found, dtype=np.float32)
        return self._prior(history)

    def prior_tastes(self, vectors: Float32) -> Float32:
        """float32[B, d] of people by their `history_vectors`, before anything that they read."""
        return np.asarray(vectors @ self.prior, dtype=np.float32)

    def tastes_by_precision(self, history: HistoryView, precisions: Sequence[float]) -> Float32:
        """float32[P, B, d]: `tastes` with each of some precisions above 0."""
        blocks = [
            self._updated(history.select(np.arange(at, min(at + _BLOCK, len(history)))), precisions)
            for at in range(0, len(history), _BLOCK)
        ]
        return np.concatenate(blocks, axis=1)

    def _prior(self, history: HistoryView) -> Float32:
        return self.prior_tastes(history_vectors(self.space, history))

    def _updated(self, history: HistoryView, precisions: Sequence[float]) -> Float32:
        reads = history.reads()
        real = reads.comment >= 0
        visit, place = visits_of(reads.last, real)
        expected = self.common_scores(reads.comment, np.full(len(history), self.until_ms))
        expected += self.rank_effect[np.minimum(place, len(self.rank_effect) - 1)]
        residual = log_dwell(reads.dwell_ms).astype(np.float32) - expected
        texts = self.space.comment[np.maximum(reads.comment, 0)]
        return updated(self._prior(history), texts, residual, visit, precisions)

    def score(self, tastes: Float32 | None, comments: Int32, time_ms: Int64) -> Float32:
        """float32[B, M] of comments int32[B, M] at int64[B]; ``tastes`` None: without."""
        scores = self.common_scores(comments, time_ms)
        if tastes is not None:
            texts = self.space.comment[np.maximum(comments, 0)]
            scores += np.matmul(texts, tastes[:, :, None])[..., 0]
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For the disk."""
        return {
            "space.comment": self.space.comment,
            "common": self.common,
            "age": self.age,
            "rank_effect": self.rank_effect,
            "prior": self.prior,
            "space.caption": self.space.caption,
            "choice": np.array([self.precision, float(self.personal)]),
            "until_ms": np.array([self.until_ms]),
        }

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray[Any]], catalogue: Catalogue) -> ValueModel:
        """Restore what `arrays` gave."""
        precision, personal = arrays["choice"]
        return cls(
            TextSpace(arrays["space.comment"], arrays["space.caption"]),
            arrays["common"],
            arrays["age"],
            catalogue.comment_time_ms,
            int(arrays["until_ms"][0]),
            arrays["rank_effect"],
            arrays["prior"],
            float(precision),
            bool(personal),
        )
