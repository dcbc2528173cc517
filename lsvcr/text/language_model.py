"""Train the embedded default language model: small, causal, on the log's own texts.

No download: a byte-level BPE vocabulary is learned from the captions and comments, and a small
transformer of the Llama family is trained on them for next-token prediction. Used in training
only; the deployed policy never loads this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from policies.base import Progress
from simulator.devices import CPU, as_array

Float16 = NDArray[np.float16]
# Token numbers of our own, below those of the vocabulary: no text can spell them.
_PAD, _END, _OWN = 0, 1, 2


@dataclass(frozen=True)
class LanguageModelSettings:
    """Size and training of the small language model.

    Attributes:
        width, layers, heads: Of the transformer.
        vocabulary: Entries of the byte-level BPE.
        max_tokens: Longest text; the rest is cut off.
        training_tokens: How many tokens are trained on, drawn from the texts at random.
        passes: Most times that one text is trained on, where there are few.
        batch_tokens: Tokens per batch, at most.
        learning_rate: Peak; falls to 0 along a half cosine.
    """

    width: int = 128
    layers: int = 2
    heads: int = 4
    vocabulary: int = 2_048
    max_tokens: int = 48
    training_tokens: int = 500_000
    passes: int = 4
    batch_tokens: int = 2_048
    learning_rate: float = 2e-3


class SmallLanguageModel:
    """A causal LM over the texts of one log; make it with `train`."""

    def __init__(self, tokenizer: Tokenizer, model: LlamaForCausalLM, max_tokens: int) -> None:
        self._tokenizer, self._model, self._max_tokens = tokenizer, model, max_tokens

    @classmethod
    def train(
        cls,
        texts: list[str],
        settings: LanguageModelSettings,
        *,
        seed: int,
        progress: Progress,
        wording: Sequence[str] = (),
        device: torch.device = CPU,
    ) -> tuple[SmallLanguageModel, float]:
        """Learn a vocabulary and a model from texts.

        Args:
            texts: Distinct texts, not empty.
            settings: Size and training.
            seed: Of initialisation and order.
            progress: Told the loss.
            wording: Phrases of prompts that the vocabulary shall know as well.
            device: Where it trains and stays.

        Returns:
            The model, and its mean loss in nats per token over the last tenth of training.
        """
        progress("language model", 0.0, f"vocabulary of {len(texts):,} texts")
        tokenizer = _tokenizer(texts, settings.vocabulary - _OWN, wording)
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=tokenizer.get_vocab_size() + _OWN,
            hidden_size=settings.width,
            intermediate_size=3 * settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.heads,
            max_position_embeddings=settings.max_tokens + 2,
            tie_word_embeddings=True,
            pad_token_id=_PAD,
            bos_token_id=_END,
            eos_token_id=_END,
        )
        model = LlamaForCausalLM(config).to(device)
        built = cls(tokenizer, model, settings.max_tokens)
        return built, built._learn(texts, settings, seed, progress)

    def _learn(
        self, texts: list[str], settings: LanguageModelSettings, seed: int, progress: Progress
    ) -> float:
        random = np.random.default_rng([seed, 21])
        order = random.permutation(len(texts))
        encoded = self._encode([texts[i] for i in order[: settings.training_tokens // 4]])
        lengths = np.array([len(e) for e in encoded])
        count = int(np.searchsorted(np.cumsum(lengths), settings.training_tokens)) + 1
        total = int(lengths[:count].sum())
        passes = -(-settings.training_tokens // total)
        # Few texts make small batches: what is learned depends on the number of steps.
        batch_tokens = min(settings.batch_tokens, max(256, total // 64))
        parts = length_batches(lengths[:count], batch_tokens)
        schedule = np.concatenate(
            [random.permutation(len(parts)) for _ in range(min(passes, settings.passes))]
        )
        optimiser = torch.optim.AdamW(
            self._model.parameters(), lr=settings.learning_rate, weight_decay=0.01
        )
        self._model.train()
        losses = []
        for step, number in enumerate(schedule):
            share = step / len(schedule)
            warm = min(1.0, (step + 1) / (0.03 * len(schedule) + 1.0))
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * warm * 0.5 * (1 + np.cos(np.pi * share))
            tokens, mask = _pad([encoded[i] for i in parts[number]], self._model.device)
            labels = tokens.masked_fill(~mask, -100)
            optimiser.zero_grad(set_to_none=True)
            loss = self._model(input_ids=tokens, attention_mask=mask.long(), labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
            optimiser.step()
            losses.append(float(loss.detach()))
            progress("language model", share, f"loss {np.mean(losses[-50:]):.3f}")
        self._model.eval()
        return float(np.mean(losses[-max(1, len(losses) // 10) :]))

    def embed(self, texts: list[str], progress: Progress, batch_tokens: int = 8_192) -> Float16:
        """float16[n, width]: masked mean of the last hidden states, in length-sorted batches."""
        encoded = self._encode(texts)
        parts = length_batches(np.array([len(e) for e in encoded]), batch_tokens)
        result = np.zeros((len(texts), self._model.config.hidden_size), dtype=np.float16)
        with torch.inference_mode():
            for step, part in enumerate(parts):
                tokens, mask = _pad([encoded[i] for i in part], self._model.device)
                states = self._model.model(
                    input_ids=tokens, attention_mask=mask.long()
                ).last_hidden_state
                weight = mask[..., None].to(states.dtype)
                mean = (states * weight).sum(1) / weight.sum(1)
                result[part] = as_array(mean).astype(np.float16)
                progress("text embeddings", step / len(parts), f"{len(texts):,} texts")
        return result

    @property
    def model(self) -> LlamaForCausalLM:
        """Of transformers."""
        return self._model

    @property
    def end(self) -> int:
        """The token that opens and closes every text."""
        return _END

    def tokens(self, texts: list[str]) -> list[list[int]]:
        """Token numbers of texts, uncut and without the tokens around them."""
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [[i + _OWN for i in e.ids] for e in encodings]

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [[_END, *ids[: self._max_tokens], _END] for ids in self.tokens(texts)]


def _tokenizer(texts: list[str], vocabulary: int, wording: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # A phrase stands in every prompt: it counts as often as a common word.
    phrases = list(wording) * (1 + len(texts) // 50)
    tokenizer.train_from_iterator([*texts[:200_000], *phrases], trainer)
    return tokenizer


def length_batches(lengths: NDArray[np.integer], tokens: int) -> list[NDArray[np.intp]]:
    """Texts of similar length together, about ``tokens`` per batch after padding."""
    order = np.argsort(lengths, kind="stable")
    parts, at = [], 0
    while at < len(order):
        width = int(lengths[order[min(at + max(tokens // 8, 1), len(order) - 1)]])
        step = max(1, tokens // max(width, 1))
        parts.append(order[at : at + step])
        at += step
    return parts


def _pad(encoded: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    width = max(len(e) for e in encoded)
    tokens = torch.full((len(encoded), width), _PAD)
    for row, ids in enumerate(encoded):
        tokens[row, : len(ids)] = torch.tensor(ids)
    tokens = tokens.to(device)
    return tokens, tokens.ne(_PAD)
