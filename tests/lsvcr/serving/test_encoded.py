from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsvcr.model.layers import HistoryEncoder
from lsvcr.serving.encoded import EncodedHistories
from lsvcr.task import MAX_LENGTH

DIM, ROWS, EVENTS = 8, 5, 70
TOKENS = np.random.default_rng(3).normal(size=(ROWS, EVENTS, DIM)).astype(np.float32)


def encoder(layers: int) -> HistoryEncoder:
    torch.manual_seed(layers)
    made = HistoryEncoder(DIM, layers, 2, 16, 0.0).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def last(row: int, version: int) -> np.ndarray:
    return TOKENS[row, max(0, version - MAX_LENGTH) : version]


@settings(max_examples=40, deadline=None)
@given(
    layers=st.integers(1, 3),
    requests=st.lists(
        st.lists(
            st.tuples(st.integers(0, ROWS - 1), st.integers(0, 9)),
            min_size=1,
            max_size=ROWS,
            unique_by=lambda one: one[0],
        ),
        min_size=1,
        max_size=25,
    ),
)
def test_growing_histories_are_encoded_as_if_anew(
    layers: int, requests: list[list[tuple[int, int]]]
) -> None:
    """Whatever was kept, by nothing, one, several or many new events, and past the 50th."""
    own = encoder(layers)
    kept = EncodedHistories(own, DIM, 2)
    seen = np.zeros(ROWS, dtype=np.int64)
    for request in requests:
        rows = np.array([row for row, _ in request], dtype=np.int32)
        seen[rows] = np.minimum(seen[rows] + [new for _, new in request], EVENTS)
        versions = seen[rows]

        def tokens(
            part: np.ndarray, length: int, rows: np.ndarray = rows, versions: np.ndarray = versions
        ) -> np.ndarray:
            padded = np.full((len(part), length, DIM), 7.0, dtype=np.float32)
            for at, one in enumerate(part):
                events = last(rows[one], versions[one])
                padded[at, : len(events)] = events
            return padded

        kept.update(rows, versions, tokens)
        longest = int(np.minimum(versions, MAX_LENGTH).max())
        states = kept.states(rows, longest)
        for row, version, told in zip(rows, versions, states, strict=True):
            events = last(row, version)
            with torch.inference_mode():
                expected = own(torch.from_numpy(events[None]))[0].numpy()
            np.testing.assert_allclose(told[: len(events) + 1], expected, atol=2e-5)


def test_only_what_is_new_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    own = encoder(2)
    kept = EncodedHistories(own, DIM, ROWS)
    asked: list[int] = []
    whole = own.by_layer

    def by_layer(tokens: torch.Tensor, positions: torch.Tensor | None = None) -> list[torch.Tensor]:
        asked.append(len(tokens))
        return whole(tokens, positions)

    monkeypatch.setattr(own, "by_layer", by_layer)
    rows = np.arange(ROWS, dtype=np.int32)
    for versions in (np.full(ROWS, 10), np.full(ROWS, 10), np.full(ROWS, 12), np.full(ROWS, 51)):
        kept.update(rows, versions.astype(np.int64), lambda part, length: TOKENS[part, :length])
    assert asked == [ROWS, ROWS]  # the first time, and when the first event has dropped out
