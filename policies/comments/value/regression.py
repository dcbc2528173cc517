"""Estimate the linear part of the comment value by ridge regression within visits.

Every target and every feature is measured from its mean within the visit: what belongs to the
person, the video or the moment falls out, as with an intercept per visit. Places in the section
are features of the fit alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.comments.value.facts import AGES, STATIC, age_facts, static_facts
from policies.comments.value.model import ValueModel
from policies.comments.value.taste import history_vectors
from policies.comments.value.texts import TextSpace
from policies.comments.value.visits import Visits
from policies.evaluation.dwell import from_visit_mean, log_dwell
from policies.evaluation.seen_visits import first_of_visits
from simulator.logs.dataset import Dataset

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

HEADS = ("log dwell", "went on", "touched")
RANKS = 12
"""Places in the section with an effect of their own; the last one stands for all further ones."""
_BLOCK = 20_000


@dataclass(frozen=True)
class Columns:
    """Where the features stand.

    Attributes:
        width: d, dimensions of the text space.
        crossed: Leading dimensions of texts and of histories that are multiplied.
    """

    width: int
    crossed: int

    @property
    def stops(self) -> list[int]:
        """Ends of: static facts, ages, texts, texts times caption, ranks, crossed histories."""
        sizes = (STATIC, AGES, self.width, self.width, RANKS, 2 * self.crossed**2)
        return [int(stop) for stop in np.cumsum(sizes)]


class NormalEquations:
    """Sums of squares and products of the features and targets of some visits.

    Args:
        dataset: The log.
        space: Texts.
        crossed: See `Columns`.
    """

    def __init__(self, dataset: Dataset, space: TextSpace, crossed: int) -> None:
        self.catalogue = dataset.catalogue()
        span = dataset.info.time_span_ms
        self.until_ms = span[1] if span else 0
        self.space = space
        self.columns = Columns(space.width, min(crossed, space.width))
        self.static = static_facts(self.catalogue, dataset.comment_texts())
        n = self.columns.stops[-1]
        # People who fit, people who are held out.
        self.gram = np.zeros((2, n, n))
        self.right = np.zeros((2, n, len(HEADS)))
        self.rows = np.zeros(2)

    def add(self, visits: Visits) -> None:
        """Add visits, block by block."""
        seen = visits.seen
        vectors = history_vectors(self.space, visits.history.view(np.arange(len(visits))))
        y = np.stack([log_dwell(seen.dwell_ms), ~seen.last, seen.touched], axis=1)
        y = from_visit_mean(y.astype(np.float64), seen.visit)
        first = first_of_visits(seen.visit)
        edges = first[:: max(1, len(first) * _BLOCK // max(len(seen), 1))]
        for start, stop in zip(edges, np.append(edges[1:], len(seen)), strict=True):
            block = slice(int(start), int(stop))
            x = self.features(visits, vectors, block)
            held = visits.held[seen.visit[block]]
            for part, rows in enumerate((~held, held)):
                some = x[rows]
                self.rows[part] += len(some)
                self.gram[part] += (some.T @ some).astype(np.float64)
                self.right[part] += some.T.astype(np.float64) @ y[block][rows]

    def features(self, visits: Visits, vectors: Float32, block: slice) -> Float32:
        """float32[n, k] of some rows, from their mean within the visit."""
        seen, k = visits.seen, self.columns.crossed
        comment, visit = seen.comment[block], seen.visit[block]
        text = self.space.comment[comment]
        ages = age_facts(self.catalogue.comment_time_ms[comment], seen.time_ms[block])
        ranks = np.minimum(seen.rank[block], RANKS - 1)[:, None] == np.arange(RANKS)
        history = vectors[visit].reshape(len(comment), 2, -1)[:, :, :k]
        crossed = np.einsum("nsi,nj->nsij", history, text[:, :k])
        parts = (
            self.static[comment],
            ages,
            text,
            text * self.space.caption[seen.video[block]],
            ranks.astype(np.float32),
            crossed.reshape(len(comment), -1),
        )
        x = np.concatenate(parts, axis=1, dtype=np.float64)
        return from_visit_mean(x, visit).astype(np.float32)

    def solve(self, penalty: float, *, everybody: bool, personal: bool) -> Float64:
        """float64[k, heads]: coefficients; 0 of the crossed histories without ``personal``.

        Args:
            penalty: In comments: squared coefficients count as much as so many comments whose
                features are of average size.
            everybody: False leaves out the held people.
            personal: Whether histories take part.
        """
        gram = self.gram.sum(axis=0) if everybody else self.gram[0]
        right = self.right.sum(axis=0) if everybody else self.right[0]
        n = len(gram) if personal else self.columns.stops[-2]
        size = np.diag(gram)[:n]
        rows = self.rows.sum() if everybody else self.rows[0]
        weight = penalty * size / max(float(rows), 1.0) + 1e-9
        found = np.zeros_like(right)
        found[:n] = np.linalg.solve(gram[:n, :n] + np.diag(weight), right[:n])
        result: Float64 = found
        return result

    def model(
        self, coefficients: Float64, precision: float, *, personal: bool, head: int = 0
    ) -> ValueModel:
        """The model of a head, log dwell unless told otherwise."""
        parts = np.split(coefficients[:, head], self.columns.stops[:-1])
        static, age, text, match, rank, crossed = parts
        d, k = self.columns.width, self.columns.crossed
        prior = np.zeros((2, d, d), dtype=np.float32)
        prior[:, :k, :k] = crossed.reshape(2, k, k)
        comment = self.space.comment
        caption = self.space.caption[self.catalogue.comment_video]
        common = self.static @ static + comment @ text + (comment * caption) @ match
        return ValueModel(
            self.space,
            common.astype(np.float32),
            age.astype(np.float32),
            self.catalogue.comment_time_ms,
            self.until_ms,
            rank.astype(np.float32),
            prior.reshape(2 * d, d),
            precision,
            personal,
        )
