"""Define LSVCR's sequential recommender, the part that is deployed.

Zheng et al., "Enhancing Sequential Recommender with Large Language Models for Joint Video and
Comment Recommendation" (arXiv 2403.13574), section 4.2. Two histories, the videos somebody liked
and the comment sections somebody took part in, are encoded causally; each then attends to the
other; a person is one vector per task, compared with candidates by cosine.

Differences from the paper: a start token opens each history, so that people without a history get
a ranking too; many positions of one sequence are trained in one pass (see `SRModel.states`); a
history's token starts as its title or as its comments, and residual branches start at zero (Zhang
et al., Fixup, ICLR 2019): the comment task starts from the video being watched alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lsvcr.model.layers import AttentivePooling, HistoryEncoder, Mixing, VideoQuery
from lsvcr.task import Task

TEMPERATURE = 0.07


class SRModel(nn.Module):
    """Embeddings, encoders, mixing and the head of one task.

    Args:
        task: Which head: fine-tuning keeps a copy of the model per task.
        n_videos: Rows of the ID table.
        text_dim: Width of the LLM's text embeddings; 0 = the log has no text, IDs alone.
        dim, layers, heads, feed_forward, dropout: Sizes; the paper's are the defaults.
        mixing: False leaves out the cross-attention between the histories.
        use_ids: False leaves out the ID vectors: a video is its text.
    """

    row_of_video: Tensor | None

    def __init__(
        self,
        task: Task,
        n_videos: int,
        text_dim: int,
        *,
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        feed_forward: int = 256,
        dropout: float = 0.3,
        mixing: bool = True,
        use_ids: bool = True,
    ) -> None:
        super().__init__()
        self.use_ids = use_ids
        self.task, self.dim, self.text_dim = task, dim, text_dim
        self.ids = nn.Embedding(n_videos, dim)
        # Not a weight: what is deployed has no IDs, and training knows which video is which.
        self.register_buffer("row_of_video", None, persistent=False)
        nn.init.normal_(self.ids.weight, std=0.02)
        self.gate = nn.Parameter(torch.ones(()))
        if not use_ids:
            nn.init.zeros_(self.ids.weight)
            self.ids.requires_grad_(False)
            self.gate.requires_grad_(False)
        if text_dim:
            self.llm_emb_mlp = nn.Sequential(
                nn.Linear(text_dim, max(text_dim // 4, 1)),
                nn.GELU(),
                nn.Linear(max(text_dim // 4, 1), 256),
            )
            self.llm_adapter = nn.Linear(256, dim, bias=False)
            self.merge = nn.Linear(2 * dim, dim)
            # At first a liked video is its title, a comment section what was said in it.
            with torch.no_grad():
                own = (1.0, 0.0) if task == "video" else (0.0, 1.0)
                self.merge.weight.copy_(torch.cat([w * torch.eye(dim) for w in own], dim=1))
            nn.init.zeros_(self.merge.bias)
        sizes = (dim, layers, heads, feed_forward, dropout)
        self.video_encoder = HistoryEncoder(*sizes)
        self.comment_encoder = HistoryEncoder(*sizes)
        self.mixing = Mixing(dim, heads, dropout) if mixing else None
        if task == "video":
            self.pooling = AttentivePooling(dim, dropout)
        else:
            self.video_query = VideoQuery(dim, heads, dropout)

    def share_ids(self, row_of_video: Tensor) -> None:
        """Let videos share rows of the ID table: int64[V], the row of each."""
        self.row_of_video = row_of_video.to(self.device)

    def own_ids(self, index: Tensor) -> Tensor:
        """ID vectors float[..., dim] of videos int64[...], >= 0."""
        rows = index if self.row_of_video is None else self.row_of_video[index]
        own: Tensor = self.ids(rows)
        return own

    def take_over(self, weights: Mapping[str, Tensor]) -> None:
        """Load what stage 1 has learned; the rest, such as the IDs, stays as it is."""
        own = {name: value for name, value in self.state_dict().items() if name not in weights}
        self.load_state_dict({**own, **weights}, strict=True)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.ids.weight.device

    @property
    def text_hidden(self) -> int:
        """Width of the text path's hidden layer."""
        return max(self.text_dim // 4, 1)

    def text_layers(self) -> tuple[nn.Linear, nn.Linear]:
        """The two linear layers of the text path."""
        first, _, second = self.llm_emb_mlp
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        return first, second

    def text(self, embeddings: Tensor) -> Tensor:
        """LLM embeddings float[..., text_dim] to float[..., dim]."""
        first, second = self.text_layers()
        # Nothing bends between the last two maps: multiplied first, they cost a fraction.
        weight = self.llm_adapter.weight @ second.weight
        bias = self.llm_adapter.weight @ second.bias
        adapted: Tensor = F.linear(F.gelu(first(embeddings)), weight, bias)
        return adapted

    def videos(self, index: Tensor, titles: Tensor | None) -> Tensor:
        """Video vectors, gate * ID + adapter(title): candidates, and the comment task's query.

        Args:
            index: int64[...], >= 0.
            titles: float[..., dim], adapted titles; None without text.
        """
        if titles is None:
            return self._gated(index)
        return self._gated(index) + titles if self.use_ids else titles

    def tokens(self, index: Tensor, titles: Tensor | None, comments: Tensor | None) -> Tensor:
        """History tokens float[..., dim]: merge([title ; comments]) + gate * ID."""
        if titles is None:
            return self._gated(index)
        comments = torch.zeros_like(titles) if comments is None else comments
        merged: Tensor = self.merge(torch.cat([titles, comments], dim=-1))
        return merged + self._gated(index) if self.use_ids else merged

    def _gated(self, index: Tensor) -> Tensor:
        own: Tensor = self.gate * self.own_ids(index)
        return own

    def states(
        self,
        video_tokens: Tensor,
        comment_tokens: Tensor,
        video_count: Tensor,
        comment_count: Tensor,
        window: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mixed states of the task's own history in P views, and what K moments see of each.

        Because the encoders are causal, a moment that has seen the first n events of its own
        history needs only the first n + 1 states: all moments share one encoding, and those that
        have seen equally much of the other history, a *view*, share its mixing. Each result
        equals that of a person whose histories end there.

        Args:
            video_tokens: float[B, L, dim].
            comment_tokens: float[B, M, dim].
            video_count: int64[P, K], liked videos that each moment has seen.
            comment_count: int64[P, K], comment sections that each moment has seen. Of the other
                history, all moments of a view have seen as much as its first.
            window: int64[P], whose histories a view is of; None where it is each row's own.

        Returns:
            float[P, L + 1 or M + 1, dim] and bool[P, K, L + 1 or M + 1], the visible ones.
        """
        return self.mixed(
            self.video_encoder(video_tokens),
            self.comment_encoder(comment_tokens),
            video_count,
            comment_count,
            window,
        )

    def mixed(
        self,
        videos: Tensor,
        comments: Tensor,
        video_count: Tensor,
        comment_count: Tensor,
        window: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`states` from histories that are encoded already: float[B, L + 1 (M + 1), dim]."""
        own, count, other, other_count = videos, video_count, comments, comment_count
        if self.task == "comment":
            own, count, other, other_count = other, other_count, own, count
        visible = torch.arange(own.shape[1], device=own.device) <= count[:, :, None]
        if self.mixing is None:
            return own if window is None else own.index_select(0, window), visible
        return self.mixing(own, other, other_count[:, 0], window), visible

    def person(self, states: Tensor, visible: Tensor, video: Tensor | None = None) -> Tensor:
        """User representations float[P, K, dim]; the comment task needs the current videos."""
        if self.task == "video":
            pooled: Tensor = self.pooling(states, visible)
            return pooled
        assert video is not None
        representation: Tensor = self.video_query(video, states, visible)
        return representation


def cosine_factors(person: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """float[..., dim] each, whose inner products are cosines over temperature."""
    return F.normalize(person, dim=-1) / TEMPERATURE, F.normalize(candidates, dim=-1)
