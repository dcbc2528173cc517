"""Store text embeddings on disk: each text once per language model, only new ones embedded.

A store is a folder per language model and adapter, named by a hash of all that decides an
embedding, with one safetensors file per batch of new texts. A text is known by the tokens that the
model reads, so that another tokenizer or another cut is another text. Files are written under a
temporary name first: what was interrupted leaves nothing half written behind.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from lsvcr.text.llm import CausalLLM, Ids
from policies.base import Progress
from policies.distributed import rank, summed, world_size
from policies.errors import CheckpointError

# Texts per file: what an interruption may cost.
_PART = 20_000
_KEY_BYTES = 16


@dataclass(frozen=True)
class Embedded:
    """Embeddings of texts, and how many of them had to be computed.

    Attributes:
        vectors: float32[n, width], as pooled.
        fresh: Distinct texts that passed through the language model.
    """

    vectors: Tensor
    fresh: int


def identity(llm: CausalLLM) -> str:
    """Hash of what decides an embedding besides the text: weights, adapter, framing."""
    digest = hashlib.blake2b(digest_size=10)
    config = llm.model.config.to_dict()
    for name in ("transformers_version", "_name_or_path", "dtype", "torch_dtype"):
        config.pop(name, None)
    facts = [config, llm.adapter, llm.before, llm.after, str(llm.model.dtype)]
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, value in sorted(llm.model.state_dict().items()):
        digest.update(name.encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def beside(dataset: Path) -> Path:
    """The folder of a dataset's stores; next to it, so that importing it anew keeps them."""
    return dataset.with_name(f"{dataset.name}.embeddings")


class TextStore:
    """Embeddings of one language model as it is now.

    Processes that train together divide what is new among themselves; the first one writes.

    Args:
        folder: Of all stores of a dataset; None keeps nothing on disk.
        llm: Embeds what is new. Training it on makes it another model: open another store.
    """

    def __init__(self, folder: Path | None, llm: CausalLLM) -> None:
        self._llm = llm
        self._directory = None if folder is None else folder / identity(llm)

    def embed(self, encoded: Sequence[Ids], progress: Progress | None = None) -> Embedded:
        """Embeddings of texts given as token numbers, in their order.

        Raises:
            CheckpointError: a file of the store is damaged.
        """
        keys = [_key(ids) for ids in encoded]
        place: dict[bytes, int] = {}
        for key in keys:
            place.setdefault(key, len(place))
        vectors = torch.zeros(len(place), self._llm.width)
        known = np.zeros(len(place), dtype=bool)
        for file in self._files():
            self._read(file, place, vectors, known)
        first = {place[key]: number for number, key in reversed(list(enumerate(keys)))}
        missing = np.flatnonzero(~known)
        names = list(place)
        for at in range(0, len(missing), _PART):
            part = missing[at : at + _PART]
            mine = part[rank() :: world_size()]
            texts = [encoded[first[int(row)]] for row in mine]
            vectors[mine] = self._llm.embed(texts, progress)
            vectors[part] = summed(vectors[part].to(self._llm.device)).cpu()
            if rank() == 0:
                self._write([names[row] for row in part], vectors[part].numpy())
        order = torch.tensor([place[key] for key in keys], dtype=torch.long)
        return Embedded(vectors[order], len(missing))

    def _files(self) -> list[Path]:
        if self._directory is None or not self._directory.is_dir():
            return []
        return sorted(self._directory.glob("part-*.safetensors"))

    def _read(
        self, file: Path, place: dict[bytes, int], vectors: Tensor, known: NDArray[np.bool_]
    ) -> None:
        try:
            arrays = load_file(file)
            found = [place.get(key.tobytes(), -1) for key in arrays["keys"]]
            stored = torch.from_numpy(arrays["vectors"])
            rows = np.array(found, dtype=np.int64)
            wanted = rows >= 0
            vectors[rows[wanted]] = stored[wanted]
            known[rows[wanted]] = True
        except (SafetensorError, KeyError, OSError, ValueError, RuntimeError, IndexError) as error:
            raise CheckpointError(
                f"the text embeddings in {file} are damaged: {str(error).splitlines()[0]}.",
                f"Remove it, it is computed again: rm {file}",
            ) from None

    def _write(self, keys: list[bytes], vectors: NDArray[np.float32]) -> None:
        if self._directory is None:
            return
        table = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, _KEY_BYTES)
        # Named by its content: two processes that embed the same texts write the same file.
        name = hashlib.blake2b(b"".join(keys), digest_size=8).hexdigest()
        temporary = self._directory / f".{name}.{os.getpid()}.tmp"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            return  # A dataset that may only be read: embedded again next time.
        try:
            save_file({"keys": table, "vectors": np.ascontiguousarray(vectors)}, temporary)
            temporary.replace(self._directory / f"part-{name}.safetensors")
        finally:
            temporary.unlink(missing_ok=True)


def _key(ids: Ids) -> bytes:
    return hashlib.blake2b(np.array(ids, dtype="<i4").tobytes(), digest_size=_KEY_BYTES).digest()
