"""Serve one task: tables of items and the encoders of users."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from lsvcr.data.inventory import Inventory
from lsvcr.model.layers import HistoryEncoder
from lsvcr.model.sr_model import TEMPERATURE, SRModel
from lsvcr.task import MAX_LENGTH
from policies.sequence.lengths import length_blocks
from simulator.devices import as_array, on_device
from simulator.requests import Int32, Int64

Float32 = NDArray[np.float32]

_LEARNED_ON_ITEMS = ("ids.", "gate", "llm_", "merge.")


BYTES_PER_VIDEO_AND_DIM = 16
"""Of the video task's tables, four numbers of 32 bits."""


class DeployedTask:
    """Ranks for one task from tables; make it with `of` or `from_arrays`.

    A history token is linear in its comments' vectors, so its parts are computed per item, once.

    Args:
        model: The fine-tuned model; only its encoders and head are used.
        tables: ``candidates`` float32[n, dim], unit vectors of what is ranked, with a last row of
            zeros; ``video_tokens`` float32[V, dim], tokens of liked videos; ``section_tokens``
            float32[V, dim] and ``comment_parts`` float32[D + 1, dim], whose sum is the token of a
            comment section (last row: no text); ``queries`` float32[V, dim], videos being
            watched; ``comment_row`` int64[M], row of each comment.
    """

    def __init__(self, model: SRModel, tables: dict[str, NDArray[Any]]) -> None:
        self._model = model.eval()
        self._tables = tables
        # As they are stored, not copied: processes share the file that they are mapped from.
        self._candidates: Float32 = tables["candidates"].astype(np.float32, copy=False)
        self._parts: Float32 = tables["comment_parts"].astype(np.float32, copy=False)
        self._rows: Int64 = tables["comment_row"].astype(np.int64, copy=False)
        self.dim = dim = model.dim
        # Comment task: every state, since the query comes with the video.
        self.encoding_shape = (dim,) if model.task == "video" else (MAX_LENGTH + 1, dim)

    @classmethod
    def of(cls, model: SRModel, inventory: Inventory) -> DeployedTask:
        """Compute the tables of a fine-tuned model."""
        model.eval()
        n, dim = inventory.catalogue.n_videos, model.dim
        videos = np.arange(n)
        with torch.inference_mode():
            index = on_device(videos, model.device)
            titles, popular = None, None
            nothing = parts = torch.zeros(1, dim, device=model.device)
            if inventory.has_text:
                # Every text is adapted once; row -1, no text, is 0.
                blocks = -(-len(inventory.embeddings) // 8_192)
                parts_of = torch.tensor_split(inventory.embeddings, blocks)
                adapted = torch.cat([model.text(part) for part in parts_of])
                texts = torch.cat([adapted, nothing])
                titles = texts[inventory.title]
                popular = texts[
                    inventory.rows_of_comments(inventory.popular_comments(videos, None))
                ]
                weight = model.merge.weight[:, dim:]
                parts = torch.cat([adapted @ weight.T, parts])
            vectors = model.videos(index, titles)
            candidates = vectors
            rows = np.where(inventory.comment >= 0, inventory.comment, len(parts) - 1)
            if model.task == "comment":
                candidates = adapted
            unit = F.normalize(candidates, dim=-1)
            known = unit.norm(dim=-1) > 0.0
            if model.task == "video" and known.any():
                # Neither text nor events: a video scores as the average one does.
                unit[~known] = unit[known].mean(dim=0)
            candidates = torch.cat([unit, nothing])
            tables = {
                "candidates": _rounded(candidates),
                "video_tokens": as_array(model.tokens(index, titles, popular)),
                "section_tokens": as_array(model.tokens(index, titles, None)),
                "comment_parts": _rounded(parts),
                "queries": as_array(vectors),
                "comment_row": rows.astype(np.int64),
            }
        return cls(model, tables)

    @classmethod
    def from_arrays(cls, model: SRModel, arrays: dict[str, NDArray[Any]]) -> DeployedTask:
        """Restore what `arrays` gave."""
        weights = {
            name.removeprefix("model."): torch.from_numpy(value.copy())
            for name, value in arrays.items()
            if name.startswith("model.")
        }
        own = {k: v for k, v in model.state_dict().items() if k.startswith(_LEARNED_ON_ITEMS)}
        model.load_state_dict({**own, **weights}, strict=True)
        return cls(model, {k: v for k, v in arrays.items() if not k.startswith("model.")})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Tables, and the weights that encode people."""
        weights = {
            f"model.{name}": as_array(value)
            for name, value in self._model.state_dict().items()
            if not name.startswith(_LEARNED_ON_ITEMS)
        }
        return {**self._tables, **weights}

    @property
    def video_encoder(self) -> HistoryEncoder:
        """Of `video_tokens`."""
        return self._model.video_encoder

    @property
    def section_encoder(self) -> HistoryEncoder:
        """Of `section_tokens`."""
        return self._model.comment_encoder

    def video_tokens(self, videos: Int32) -> Float32:
        """float32[B, L, dim], tokens of liked videos int32[B, L]; past the end, anything."""
        tokens: Float32 = self._tables["video_tokens"][videos]
        return tokens

    def section_tokens(self, sections: Int32, comments: Int32) -> Float32:
        """Tokens of comment sections.

        Args:
            sections: int32[B, L], their videos.
            comments: int32[B, L, 3], comments of that history, -1 for none.

        Returns:
            float32[B, L, dim]; past the end, anything.
        """
        tokens: Float32 = self._tables["section_tokens"][sections]
        if len(self._rows) == 0:
            return tokens
        known = comments >= 0
        rows = np.where(known, self._rows[np.maximum(comments, 0)], len(self._parts) - 1)
        count = np.maximum((rows < len(self._parts) - 1).sum(axis=2), 1)
        mean = self._parts[rows].sum(axis=2) / count[..., None].astype(np.float32)
        return np.asarray(tokens + mean, dtype=np.float32)

    def encode(
        self, videos: Float32, sections: Float32, n_videos: Int64, n_sections: Int64
    ) -> Float32:
        """Mix both encoded histories into what ranking needs of a person.

        Args:
            videos: float32[B, <= 51, dim], states of the video history (`lsvcr.serving.encoded`).
            sections: float32[B, <= 51, dim], of the comment history.
            n_videos: int64[B], events in the video history.
            n_sections: int64[B], events in the comment history.

        Returns:
            float32[B, *encoding_shape], in the comment task no longer than the longest history.
        """
        counts = np.stack([n_videos, n_sections], axis=1)
        video_task = self._model.task == "video"
        shape = (self.dim,) if video_task else (sections.shape[1], self.dim)
        result = np.zeros((len(videos), *shape), dtype=np.float32)
        device = self._model.device
        with torch.inference_mode():
            for rows in length_blocks(n_videos if video_task else n_sections):
                n, m = counts[rows].max(axis=0)
                states, visible = self._model.mixed(
                    on_device(videos[rows, : n + 1], device),
                    on_device(sections[rows, : m + 1], device),
                    on_device(counts[rows, :1], device),
                    on_device(counts[rows, 1:], device),
                )
                if video_task:
                    person = self._model.person(states, visible)[:, 0]
                    result[rows] = as_array(F.normalize(person, dim=-1))
                else:
                    result[rows, : m + 1] = as_array(states)
        return result

    def at_video(self, encoded: Float32, count: Int64, video: Int32) -> Float32:
        """Unit vectors float32[R, dim] of people at the video that they are watching.

        Args:
            encoded: float32[R, <= 51, dim], of `encode`.
            count: int64[R], events in the comment history.
            video: int32[R].
        """
        longest = int(count.max(initial=0)) + 1
        visible = np.arange(longest) <= count[:, None]
        device = self._model.device
        with torch.inference_mode():
            person = self._model.video_query(
                on_device(self._tables["queries"][video], device)[:, None],
                on_device(encoded[:, :longest], device),
                on_device(visible[:, None], device),
            )[:, 0]
            unit: Float32 = as_array(F.normalize(person, dim=-1))
        return unit

    def score(self, people: Float32, candidates: Int32) -> Float32:
        """float32[B, C]: cosine over temperature; candidates are videos or comments."""
        rows = candidates if self._model.task == "video" else self._rows[candidates]
        vectors = self._candidates.take(rows, axis=0, mode="wrap")
        sharp = (people / np.float32(TEMPERATURE))[:, :, None]
        return np.asarray(np.matmul(vectors, sharp)[:, :, 0])


def _rounded(table: torch.Tensor) -> Float32:
    """float32[n, dim], to the precision of 16 bits."""
    return as_array(table).astype(np.float16).astype(np.float32)
