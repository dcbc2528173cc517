"""A log with planted structure: chains of videos, and four manners of comment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

import abtest  # noqa: F401  (registers lsvcr and the oracles)
from lsvcr.policy import LSVCR
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.initial_history import initial_history
from simulator.logs.schema import TABLES
from simulator.requests import CommentRequests, HistoryState, VideoRequests
from tests.lsvcr.scoring import LEARNING

START_MS = 1_700_000_000_000


VIDEOS, CHAIN, STYLES = 60, 15, 4


STYLE_WORDS = (
    ("哈哈", "笑死", "绝了", "太搞笑"),
    ("加油", "支持", "好样的", "真棒"),
    ("为什么", "请问", "怎么做", "求教程"),
    ("感动", "泪目", "想家", "温暖"),
)


CHAIN_WORDS = ("烧烤 美食", "篮球 比赛", "吉他 翻唱", "小猫 日常")


@pytest.fixture(autouse=True, scope="session")
def _tiny_language_model() -> Iterator[None]:
    """The planted log has a dozen words: a model that learns them in half a second."""
    sizes = {"small": {"width": 32, "layers": 2, "training_tokens": 20_000}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lsvcr.language.LANGUAGE_MODELS", sizes)
        yield


@pytest.fixture(autouse=True, scope="module")
def _few_threads() -> None:
    # Small models gain nothing from a second thread, and lose much where cores are shared. Of the
    # module, so that what a module's fixtures train has the threads of its tests: sums of floats,
    # and so weights, depend on their number.
    torch.set_num_threads(1)


def frame(table: str, columns: dict[str, Any]) -> pl.DataFrame:
    """Rows of a log table with the types that its format asks for."""
    dtypes = TABLES[table].dtypes()
    return pl.DataFrame({name: pl.Series(v, dtype=dtypes[name]) for name, v in columns.items()})


@dataclass(frozen=True)
class Planted:
    """A dataset and what was planted: everybody's comment style, every comment's style."""

    dataset: Dataset
    taste: NDArray[np.int64]
    style: NDArray[np.int64]


def write_planted(
    path: Path,
    *,
    users: int = 160,
    comments_each: int = 16,
    text: bool = True,
    comment_events: bool = True,
    likes: bool = True,
) -> Planted:
    """People walk along a chain of 14 videos and like comments of one style only.

    Video ``15 k + i`` belongs to chain k; whoever liked i likes i + 1 next. The last video of
    every chain is new: nobody has seen it.
    """
    random = np.random.default_rng(5)
    video = np.arange(VIDEOS)
    chain = video // CHAIN
    comment = np.arange(VIDEOS * comments_each)
    style = random.integers(0, STYLES, len(comment))
    taste = random.integers(0, STYLES, users)
    impressions: list[tuple[int, int, int, int, int]] = []
    events: list[tuple[int, int, int, int]] = []
    for user in range(users):
        home = int(random.integers(0, VIDEOS // CHAIN))
        at = int(random.integers(0, CHAIN - 1))
        for step in range(10):
            time = START_MS + 60_000 * step + user
            shown = home * CHAIN + (at + step) % (CHAIN - 1)
            stays = step % 2 == 0
            impressions.append((user, shown, time, 1, 5_000 if stays else 0))
            mine = np.flatnonzero((comment // comments_each == shown) & (style == taste[user]))
            if stays:
                events += [(user, shown, int(c), time) for c in random.permutation(mine)[:2]]
    columns = list(zip(*impressions, strict=True))
    videos: dict[str, Any] = {"video_id": video, "author_id": chain}
    comments: dict[str, Any] = {
        "comment_id": comment,
        "video_id": comment // comments_each,
        "like_count": random.integers(0, 50, len(comment)),
    }
    if text:
        videos["caption"] = [f"{CHAIN_WORDS[k]} 第{v % CHAIN}集" for v, k in enumerate(chain)]
        comments["text"] = [
            " ".join(random.choice(STYLE_WORDS[s], 3)) + f" {random.integers(100)}" for s in style
        ]
    with DatasetWriter(path, name="planted", source="test", licence="none") as writer:
        writer.append("users", frame("users", {"user_id": np.arange(users)}))
        writer.append("videos", frame("videos", videos))
        if text or comment_events:
            writer.append("comments", frame("comments", comments))
        writer.append(
            "impressions",
            frame(
                "impressions",
                {
                    "user_id": columns[0],
                    "video_id": columns[1],
                    "time_ms": columns[2],
                    "is_click": columns[3],
                    "is_like": columns[3] if likes else [0] * len(impressions),
                    "play_time_ms": [10_000] * len(impressions),
                    "duration_ms": [10_000] * len(impressions),
                    "comment_stay_time": columns[4],
                },
            ),
        )
        if comment_events:
            parts = list(zip(*events, strict=True))
            writer.append(
                "comment_events",
                frame(
                    "comment_events",
                    {
                        "user_id": parts[0],
                        "video_id": parts[1],
                        "comment_id": parts[2],
                        "time_ms": parts[3],
                        "is_like": [1] * len(events),
                        "is_reply": [0] * len(events),
                    },
                ),
            )
    return Planted(Dataset.open(path), taste, style)


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return write_planted(tmp_path_factory.mktemp("planted") / "log")


@pytest.fixture(scope="session")
def write_log() -> Callable[..., Planted]:
    return write_planted


def _save_tiny_llm(path: Path, texts: list[str], family: str = "llama") -> Path:
    """A random causal LM and a fast tokenizer, as Hugging Face keeps them in a directory."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        AutoModelForCausalLM,
        GPT2Config,
        LlamaConfig,
        PreTrainedTokenizerFast,
        Qwen2Config,
    )

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<begin>", "<end>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<begin>", eos_token="<end>"
    ).save_pretrained(path)
    shared: dict[str, Any] = {
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": 128,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    grouped = {
        **shared,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    configs = {
        "llama": lambda: LlamaConfig(**grouped),
        "qwen2": lambda: Qwen2Config(**grouped),
        "gpt2": lambda: GPT2Config(
            **shared,
            n_embd=16,
            n_layer=2,
            n_head=2,
            attn_pdrop=0.0,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
        ),
    }
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(configs[family]()).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def save_tiny_llm() -> Callable[..., Path]:
    return _save_tiny_llm


@dataclass(frozen=True)
class Asked:
    """Requests of everybody at the end of a log."""

    history: HistoryState
    users: NDArray[np.int32]

    def videos(self, candidates: NDArray[np.int32], rows: Any = None) -> VideoRequests:
        """Everybody (or some rows) asks for the same candidates, or one line each."""
        rows = np.arange(len(self.users)) if rows is None else np.asarray(rows)
        return VideoRequests(
            row=rows.astype(np.int32),
            user=self.users[rows],
            time_ms=np.full(len(rows), START_MS + 10**9),
            key=rows.astype(np.uint64),
            candidates=np.broadcast_to(candidates, (len(rows), candidates.shape[-1])).astype(
                np.int32
            ),
            history=self.history.view(rows),
        )

    def comments(
        self, video: NDArray[np.int32], candidates: NDArray[np.int32], rows: Any = None
    ) -> CommentRequests:
        """One section per row."""
        rows = np.arange(len(self.users)) if rows is None else np.asarray(rows)
        return CommentRequests(
            row=rows.astype(np.int32),
            user=self.users[rows],
            time_ms=np.full(len(rows), START_MS + 10**9),
            key=rows.astype(np.uint64),
            video=video.astype(np.int32),
            candidates=candidates.astype(np.int32),
            history=self.history.view(rows),
        )


def ask(dataset: Dataset) -> Asked:
    """Everybody, with the histories that the log leaves behind."""
    users = np.arange(len(dataset.user_ids()), dtype=np.int32)
    return Asked(initial_history(dataset, users), users)


@pytest.fixture(scope="session")
def asking() -> Callable[[Dataset], Asked]:
    return ask


@pytest.fixture(scope="session")
def fitted(planted: Any) -> LSVCR:
    policy = LSVCR(**LEARNING)
    policy.fit(planted.dataset, seed=1)
    return policy
