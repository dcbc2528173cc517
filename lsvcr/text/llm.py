"""Read texts and prompts with a causal language model, and pool its states over texts.

Either a Hugging Face model by name or local directory, or the small one trained on the log's own
texts. Used in training only; the deployed policy never loads this file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.pytorch_utils import Conv1D

from lsvcr.text import EMBEDDED, IGNORED
from lsvcr.text.language_model import SmallLanguageModel, length_batches
from lsvcr.text.prompts import one_line
from policies.base import Progress
from policies.errors import PolicyError

Ids = list[int]

_BATCH_TOKENS = 8_192
_EMBEDDING_THREADS = 2
# Words of common models' layers; `all-linear` leaves out the output layer.
_TARGETS = "all-linear"


class CausalLLM(nn.Module):
    """A causal language model over token numbers.

    Args:
        model: Of transformers.
        tokenise: Texts to token numbers, without any control tokens, whatever the texts spell.
        before: Tokens that open every text and prompt.
        end: Token that ends an answer; also closes a text to be embedded if ``closes``.
        closes: Whether the model has learned texts that end with ``end``.
        longest: Most tokens of prompt and answer together; None if nothing limits them.
    """

    def __init__(
        self,
        model: Any,
        tokenise: Callable[[list[str]], list[Ids]],
        *,
        before: Ids,
        end: int,
        closes: bool,
        longest: int | None,
    ) -> None:
        super().__init__()
        self.model = model
        self._tokenise, self.before, self.end = tokenise, before, end
        self.after = [end] if closes else []
        self.adapter: dict[str, float] = {}
        self.longest = longest
        self._accepts = set(inspect.signature(model.forward).parameters)
        self.reduced = model.dtype in (torch.bfloat16, torch.float16)

    @property
    def width(self) -> int:
        """Of the hidden states."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        device: torch.device = self.model.device
        return device

    def tokens(self, texts: Sequence[str], most: int | None = None) -> list[Ids]:
        """Token numbers of texts, cut to ``most``, without control tokens."""
        encoded = self._tokenise([one_line(text) for text in texts]) if texts else []
        return [ids[:most] for ids in encoded]

    def wording(self, pieces: Sequence[str]) -> list[Ids]:
        """Token numbers of our own wording, as it is."""
        return self._tokenise(list(pieces)) if pieces else []

    def answer(self, prompts: list[Ids], answers: list[Ids]) -> tuple[Tensor, Tensor, Tensor]:
        """Read prompts and predict answers.

        Prompts end and answers begin in the same column, so that logits are computed for the
        answers alone.

        Args:
            prompts: Token numbers.
            answers: Token numbers, without the ending token.

        Returns:
            float32[B, width], the last layer's state at each prompt's final token; logits
            float[B, R, V]; and their labels int64[B, R].
        """
        ended = [[*ids, self.end] for ids in answers]
        n_prompt, n_answer = max(map(len, prompts)), max(map(len, ended))
        tokens = torch.full((len(prompts), n_prompt + n_answer), self.end)
        real = torch.zeros_like(tokens, dtype=torch.bool)
        labels = torch.full((len(prompts), n_answer), IGNORED)
        for row, (asked, told) in enumerate(zip(prompts, ended, strict=True)):
            begin, stop = n_prompt - len(asked), n_prompt + len(told)
            tokens[row, begin:stop] = torch.tensor(asked + told)
            real[row, begin:stop] = True
            labels[row, : len(told)] = torch.tensor(told)
        # The answer's last token is predicted, not read.
        states, logits = self._run(tokens[:, :-1], real[:, :-1], n_answer)
        return states[:, n_prompt - 1], logits, labels.to(self.device)

    def pooled(self, encoded: list[Ids]) -> Tensor:
        """float32[B, width]: masked mean over tokens of the last layer's states."""
        whole = self._framed(encoded)
        width = max(map(len, whole))
        tokens = torch.full((len(whole), width), self.end)
        real = torch.zeros_like(tokens, dtype=torch.bool)
        for row, ids in enumerate(whole):
            tokens[row, : len(ids)] = torch.tensor(ids)
            real[row, : len(ids)] = True
        states, _ = self._run(tokens, real, 0)
        weight = real.to(states.device)[..., None].float()
        return (states * weight).sum(1) / weight.sum(1)

    def embed(
        self,
        encoded: list[Ids],
        progress: Progress | None = None,
        batch_tokens: int = _BATCH_TOKENS,
    ) -> Tensor:
        """float32[n, width]: `pooled` without gradients or dropout, in length-sorted batches.

        On a processor two batches are embedded at a time: each is a function of its own texts.
        """
        was_training = self.training
        self.eval()
        result = torch.zeros(len(encoded), self.width)
        lengths = np.array([len(ids) for ids in self._framed(encoded)])
        parts = length_batches(lengths, batch_tokens)

        def embedded(part: NDArray[np.intp]) -> Tensor:
            with torch.no_grad():  # Of this thread alone.
                return self.pooled([encoded[i] for i in part]).cpu()

        threads = _EMBEDDING_THREADS if self.device.type == "cpu" else 1
        pool = ThreadPoolExecutor(threads)
        try:
            done = zip(parts, pool.map(embedded, parts), strict=True)
            for step, (part, vectors) in enumerate(done):
                result[part] = vectors
                if progress is not None:
                    progress("text embeddings", step / len(parts), f"{len(encoded):,} texts")
        finally:
            pool.shutdown(cancel_futures=True)
        self.train(was_training)
        return result

    def adapt(self, *, rank: int, alpha: float, dropout: float, checkpointing: bool) -> None:
        """Freeze the model and add LoRA to its attention and MLP projections.

        Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR 2022).

        Args:
            rank: Of the adapters; 0 trains the whole model instead.
            alpha: Adapters count ``alpha / rank``.
            dropout: On the adapters' inputs.
            checkpointing: Recompute activations in the backward pass instead of keeping them.
        """
        if rank:
            config = LoraConfig(
                r=rank,
                lora_alpha=alpha,
                lora_dropout=dropout,
                target_modules=_TARGETS,
                # GPT-2 keeps its projections transposed.
                fan_in_fan_out=any(isinstance(m, Conv1D) for m in self.model.modules()),
            )
            self.model = inject_adapter_in_model(config, self.model)
            self.adapter = {"rank": rank, "alpha": alpha}
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_("lora_" in name)
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                # Steps of 3e-4 vanish in half precision.
                parameter.data = parameter.data.float()
        if checkpointing:
            # Transformers has renamed it: version 5.0 knows the old name alone, 5.23 warns of it.
            old = self.model.gradient_checkpointing_enable
            getattr(self.model, "activation_checkpointing_enable", old)({"use_reentrant": False})

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Adapters are added to the weights meanwhile: a forward pass does not run them apart.

        Embeddings agree to rounding. A model in half precision stays as it is: sums of its weights
        would be rounded.
        """
        layers = [] if self.reduced else [m for m in self.model.modules() if _has_adapter(m)]
        for layer in layers:
            layer.merge()
        try:
            yield
        finally:
            for layer in layers:
                layer.unmerge()

    def _framed(self, encoded: list[Ids]) -> list[Ids]:
        # A text of no tokens still needs one to be pooled over.
        return [[*self.before, *ids, *self.after] or [self.end] for ids in encoded]

    def _run(self, tokens: Tensor, real: Tensor, n_logits: int) -> tuple[Tensor, Tensor]:
        """Last states float32[B, L, width] and logits of the last ``n_logits`` places."""
        given: dict[str, Any] = {"attention_mask": real.long(), "use_cache": False}
        if "position_ids" in self._accepts:
            given["position_ids"] = (real.long().cumsum(1) - 1).clamp(min=0)
        given = {k: v.to(self.device) if isinstance(v, Tensor) else v for k, v in given.items()}
        tokens = tokens.to(self.device)
        with self._precision():
            if n_logits == 0:
                states = self.model.base_model(input_ids=tokens, **given).last_hidden_state
                return states.float(), states[:, :0]
            if "logits_to_keep" in self._accepts:
                given["logits_to_keep"] = n_logits
            output = self.model(input_ids=tokens, output_hidden_states=True, **given)
        return output.hidden_states[-1].float(), output.logits[:, -n_logits:]

    def _precision(self) -> AbstractContextManager[Any]:
        if not self.reduced:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def _has_adapter(module: Any) -> bool:
    return isinstance(module, LoraLayer)


def embedded_llm(small: SmallLanguageModel) -> CausalLLM:
    """The small model trained on the log's own texts; needs no download."""
    return CausalLLM(
        small.model,
        small.tokens,
        before=[small.end],
        end=small.end,
        closes=True,
        longest=None,  # Rotary positions: nothing ends at the length of its training texts.
    )


def load_llm(name: str, device: torch.device) -> CausalLLM:
    """A causal LM of Hugging Face, by name or local directory.

    In bfloat16 where the device has it.

    Raises:
        PolicyError: there is no such model, or it has no fast tokenizer or no ending token.
    """
    reduced = device.type == "cuda" and torch.cuda.is_bf16_supported()
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=torch.bfloat16 if reduced else torch.float32
        ).to(device)
    except (OSError, ValueError) as error:
        where = "directory" if Path(name).exists() else "name or directory"
        reason = str(error).strip().split("\n")[0]
        raise PolicyError(
            f"no causal language model of that {where}: llm = {name!r} ({reason}).",
            f'Without a download: llm = "{EMBEDDED}"',
        ) from None
    if not tokenizer.is_fast or tokenizer.eos_token_id is None:
        raise PolicyError(f"llm = {name!r} has no fast tokenizer with an ending token.")

    def tokenise(texts: list[str]) -> list[Ids]:
        encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)
        ids: list[Ids] = encoded["input_ids"]
        return ids

    start = tokenizer.bos_token_id
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return CausalLLM(
        model,
        tokenise,
        before=[] if start is None else [int(start)],
        end=int(tokenizer.eos_token_id),
        closes=False,
        longest=limit,
    )
