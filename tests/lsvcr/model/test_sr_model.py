from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lsvcr.model.sr_model import TEMPERATURE, SRModel, cosine_factors
from lsvcr.task import Task
from policies.sequence.dropout import Dropout

DIM, HEADS, VIDEOS, TEXT = 8, 2, 7, 12


def made(task: Task, text_dim: int = TEXT, seed: int = 0, *, mixing: bool = True) -> SRModel:
    """A model with every parameter random, so that no branch is silent by its initial value."""
    torch.manual_seed(seed)
    model = SRModel(task, VIDEOS, text_dim, dim=DIM, heads=HEADS, feed_forward=16, mixing=mixing)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return model.eval()


# --- The design, one person and one query at a time, without masks or batches. ---


def attention(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One query against the rows of keys, head by head."""
    size = DIM // HEADS
    parts = []
    for head in range(HEADS):
        span = slice(head * size, (head + 1) * size)
        scores = torch.stack([q[span] @ k[span] / math.sqrt(size) for k in keys])
        weights = scores.exp() / scores.exp().sum()
        parts.append(sum(w * v[span] for w, v in zip(weights, values, strict=True)))
    return torch.cat(parts)


def split(layer: nn.Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    out = layer(x)
    return out[..., :DIM], out[..., DIM : 2 * DIM]


def encoded(encoder: nn.Module, tokens: Tensor) -> Tensor:
    x = torch.cat([encoder.start[None], tokens])
    x = encoder.norm(x + encoder.positions[: len(x)])
    for layer in encoder.layers:
        qkv = layer.qkv(x)
        q, k, v = qkv[:, :DIM], qkv[:, DIM : 2 * DIM], qkv[:, 2 * DIM :]
        read = [attention(q[i], k[: i + 1], v[: i + 1]) for i in range(len(x))]
        x = layer.norm_1(x + layer.out(torch.stack(read)))
        x = layer.norm_2(x + layer.feed_forward(x))
    return x


def reference(model: SRModel, videos: Tensor, sections: Tensor, watching: Tensor) -> Tensor:
    """The person of whole histories float[n, dim] and float[m, dim]."""
    own, other = encoded(model.video_encoder, videos), encoded(model.comment_encoder, sections)
    if model.task == "comment":
        own, other = other, own
    q = model.mixing.query(own)
    k, v = split(model.mixing.key_value, other)
    read = torch.stack([attention(line, k, v) for line in q])
    mixed = model.mixing.norm(own + model.mixing.out(read))
    states = model.mixing.join(torch.cat([own, mixed], dim=-1))
    if model.task == "video":
        scores = model.pooling.score(model.pooling.hidden(states))[:, 0]
        weights = scores.exp() / scores.exp().sum()
        return (weights[:, None] * states).sum(0)
    k, v = split(model.video_query.key_value, states)
    read = attention(model.video_query.query(watching), k, v)
    return model.video_query.norm(watching + model.video_query.out(read))


def person(
    model: SRModel, videos: Tensor, sections: Tensor, n: list[int], m: list[int], watching: Tensor
) -> Tensor:
    """One view of the same two histories per pair of counts."""
    states, visible = model.states(
        videos[None],
        sections[None],
        torch.tensor(n)[:, None],
        torch.tensor(m)[:, None],
        torch.zeros(len(n), dtype=torch.long),
    )
    result: Tensor = model.person(states, visible, watching.expand(len(n), 1, -1))[:, 0]
    return result


TASKS: tuple[Task, ...] = ("video", "comment")


@pytest.mark.parametrize("task", TASKS)
@given(n=st.integers(0, 5), m=st.integers(0, 5), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_model_is_the_design_written_out(task: Task, n: int, m: int, seed: int) -> None:
    model = made(task, seed=seed)
    videos, sections, watching = torch.randn(n, DIM), torch.randn(m, DIM), torch.randn(DIM)
    with torch.no_grad():
        found = person(model, videos, sections, [n], [m], watching)[0]
        expected = reference(model, videos, sections, watching)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
@given(
    moments=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_each_moment_is_a_person_whose_histories_end_there(
    task: Task, moments: list[tuple[int, int]], seed: int
) -> None:
    model = made(task, seed=seed)
    videos, sections, watching = torch.randn(6, DIM), torch.randn(5, DIM), torch.randn(DIM)
    n, m = [list(x) for x in zip(*moments, strict=True)]
    with torch.no_grad():
        together = person(model, videos, sections, n, m, watching)
        for number, (i, j) in enumerate(moments):
            alone = reference(model, videos[:i], sections[:j], watching)
            torch.testing.assert_close(together[number], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_moments_of_a_view_share_what_they_have_seen_of_the_other_history(task: Task) -> None:
    model = made(task)
    videos, sections = torch.randn(2, 6, DIM), torch.randn(2, 5, DIM)
    window, watching = torch.tensor([1, 0, 1]), torch.randn(3, 2, DIM)
    own, other = [[2, 5], [0, 3], [4, 4]], [1, 3, 4]
    counts = torch.tensor(own), torch.tensor(other)[:, None].expand(-1, 2)
    with torch.no_grad():
        states, visible = model.states(
            videos, sections, *(counts if task == "video" else counts[::-1]), window
        )
        together = model.person(states, visible, watching)
        for view, moment in np.ndindex(3, 2):
            n, m = own[view][moment], other[view]
            if task == "comment":
                n, m = m, n
            alone = reference(
                model,
                videos[window[view], :n],
                sections[window[view], :m],
                watching[view, moment],
            )
            torch.testing.assert_close(together[view, moment], alone, rtol=1e-4, atol=1e-5)


def test_dropout_keeps_the_expectation_and_drops_at_its_rate() -> None:
    """A million draws; bounds of five standard errors (a false alarm in two million runs)."""
    torch.manual_seed(2)
    drop, n = Dropout(0.3), 1_000_000
    dropped = drop(torch.ones(n))
    rate = 77 / 256
    error = math.sqrt(rate * (1 - rate) / n)
    assert abs(float((dropped == 0).float().mean()) - rate) < 5 * error
    assert dropped.unique().tolist() == pytest.approx([0.0, 256 / 179])
    assert abs(float(dropped.mean()) - 1.0) < 5 * error / (1 - rate)
    # Neighbours share a random word: their draws must be independent all the same.
    both = (dropped[:-1] == 0) & (dropped[1:] == 0)
    assert abs(float(both.float().mean()) - rate**2) < 5 * math.sqrt(rate**2 / n) * 1.5
    assert torch.equal(drop.eval()(torch.ones(9)), torch.ones(9))


@pytest.mark.parametrize("task", TASKS)
def test_without_mixing_the_other_history_does_not_matter(task: Task) -> None:
    model = made(task, mixing=False)
    videos, sections, watching = torch.randn(4, DIM), torch.randn(4, DIM), torch.randn(DIM)
    own_is_liked = task == "video"
    with torch.no_grad():
        before = person(model, videos, sections, [4], [4], watching)
        other = [videos, torch.randn(4, DIM)] if own_is_liked else [torch.randn(4, DIM), sections]
        own = [torch.randn(4, DIM), sections] if own_is_liked else [videos, torch.randn(4, DIM)]
        same = person(model, other[0], other[1], [4], [4], watching)
        assert torch.equal(before, same)
        changed = person(model, own[0], own[1], [4], [4], watching)
        assert not torch.allclose(before, changed, atol=1e-4)
    assert not any(name.startswith("mixing") for name, _ in model.named_parameters())


def test_without_ids_a_video_is_its_text() -> None:
    model = SRModel("video", VIDEOS, TEXT, dim=DIM, heads=HEADS, feed_forward=16, use_ids=False)
    titles = torch.randn(3, DIM)
    index = torch.tensor([0, 1, 2])
    assert torch.equal(model.videos(index, titles), titles)
    assert torch.equal(
        model.tokens(index, titles, titles), model.tokens(index.flip(0), titles, titles)
    )
    assert not model.ids.weight.requires_grad and not model.gate.requires_grad


@pytest.mark.parametrize("task", TASKS)
def test_later_events_and_padding_change_nothing(task: Task) -> None:
    model = made(task)
    videos, sections, watching = torch.randn(6, DIM), torch.randn(5, DIM), torch.randn(DIM)
    other_future = torch.cat([videos[:4], 50.0 * torch.randn(9, DIM)])
    other_sections = torch.cat([sections[:3], 50.0 * torch.randn(8, DIM)])
    with torch.no_grad():
        before = person(model, videos, sections, [4], [3], watching)
        after = person(model, other_future, other_sections, [4], [3], watching)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_every_visible_event_matters(task: Task) -> None:
    """Both histories reach the person: the mixing is not decoration."""
    model = made(task)
    videos, sections, watching = torch.randn(4, DIM), torch.randn(4, DIM), torch.randn(DIM)
    with torch.no_grad():
        before = person(model, videos, sections, [4], [4], watching)
        for changed in _one_changed(videos):
            after = person(model, changed, sections, [4], [4], watching)
            assert not torch.allclose(before, after, atol=1e-4)
        for changed in _one_changed(sections):
            after = person(model, videos, changed, [4], [4], watching)
            assert not torch.allclose(before, after, atol=1e-4)


def _one_changed(tokens: Tensor) -> Iterator[Tensor]:
    for i in range(len(tokens)):
        changed = tokens.clone()
        changed[i] += torch.randn(DIM)
        yield changed


def test_token_is_merged_text_plus_gated_id() -> None:
    model = made("video")
    index = torch.tensor([3, 0])
    titles, comments = torch.randn(2, DIM), torch.randn(2, DIM)
    token = model.tokens(index, titles, comments)
    expected = (
        torch.cat([titles, comments], 1) @ model.merge.weight.T
        + model.merge.bias
        + model.gate * model.ids.weight[index]
    )
    torch.testing.assert_close(token, expected)
    torch.testing.assert_close(
        model.videos(index, titles), model.gate * model.ids.weight[index] + titles
    )


def test_text_path_narrows_as_in_the_paper() -> None:
    """h -> h / 4 -> 256 -> d, the last without bias."""
    model = SRModel("video", VIDEOS, 128)
    assert model.llm_emb_mlp[0].weight.shape == (32, 128)
    assert model.llm_emb_mlp[2].weight.shape == (256, 32)
    assert model.llm_adapter.weight.shape == (64, 256)
    assert model.llm_adapter.bias is None
    assert float(model.gate.detach()) == 1.0


def test_text_is_the_two_stages_one_after_the_other() -> None:
    model = made("video")
    embeddings = torch.randn(5, TEXT)
    expected = model.llm_adapter(model.llm_emb_mlp(embeddings))
    torch.testing.assert_close(model.text(embeddings), expected, rtol=1e-4, atol=1e-5)
    expected.square().sum().backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.text(embeddings).square().sum().backward()
    assert len(gradients) == 5
    for name, parameter in model.named_parameters():
        if name in gradients:
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-4)


def test_ids_alone_need_no_text_path() -> None:
    model = made("video", text_dim=0)
    assert not any(name.startswith(("llm", "merge")) for name, _ in model.named_parameters())
    index = torch.tensor([[1, 2]])
    with torch.no_grad():
        tokens = model.tokens(index, None, None)
        states, visible = model.states(
            tokens, tokens[:, :0], torch.tensor([[2]]), torch.tensor([[0]])
        )
        assert torch.isfinite(model.person(states, visible)).all()


def test_a_fresh_model_scores_by_what_was_liked_before() -> None:
    """The zero and identity start: the nearest candidate is what resembles the history."""
    torch.manual_seed(1)
    model = SRModel("video", VIDEOS, TEXT, dim=64).eval()
    liked, unrelated = torch.randn(64), torch.randn(64)
    tokens = liked.expand(1, 5, 64)
    with torch.no_grad():
        states, visible = model.states(
            tokens, tokens[:, :0], torch.tensor([[5]]), torch.tensor([[0]])
        )
        both = torch.stack([liked, unrelated])
        person, candidates = cosine_factors(model.person(states, visible)[0], both)
        logits = person @ candidates.T
    assert logits[0, 0] > logits[0, 1] + 5.0


def test_score_is_cosine_over_temperature() -> None:
    people, candidates = torch.randn(3, DIM), torch.randn(4, DIM) * 9.0
    expected = F.cosine_similarity(people[:, None], candidates[None], dim=-1) / 0.07
    person, candidate = cosine_factors(people, candidates)
    torch.testing.assert_close(person @ candidate.T, expected)
    assert TEMPERATURE == 0.07
