"""Run stage 1 alone, on one device or several.

    python -m lsvcr.align --data logs/kuairand --llm DIR --out aligned
    torchrun --nproc-per-node 8 -m lsvcr.align --data logs/kuairand --llm DIR --out aligned

Leaves a checkpoint in ``--out`` (an interrupted run goes on from it) and the text embeddings beside
the dataset. Stage 2 then starts from both, without aligning again, with the policy settings that
are printed at the end. Each process holds the language model and ``batch`` examples per pass;
negatives come from all of them, gradients are averaged.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from lsvcr.policy import LSVCR
from lsvcr.stage1.settings import PRESETS
from policies.distributed import rank, together
from policies.errors import PolicyError
from simulator.errors import SimulatorError
from simulator.logs.dataset import Dataset

_EVERY_SECONDS = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Run stage 1; the exit code."""
    options = _options(arguments)
    with together():
        try:
            _align(options)
        except (PolicyError, SimulatorError) as error:
            if rank() == 0:
                print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


def _align(options: argparse.Namespace) -> None:
    given: dict[str, Any] = dict(_setting(text) for text in options.set)
    settings = {
        "alignment": "llm",
        "llm": options.llm,
        "preset": options.preset,
        "alignment_settings": {**given, "checkpoint": str(options.out.resolve())},
    }
    policy = LSVCR(**settings)
    last = 0.0

    def progress(stage: str, fraction: float, detail: str) -> None:
        nonlocal last
        if rank() == 0 and time.monotonic() - last > _EVERY_SECONDS:
            last = time.monotonic()
            print(f"{fraction:4.0%} {stage}: {detail}", file=sys.stderr, flush=True)

    told = policy.align(Dataset.open(options.data), seed=options.seed, progress=progress)
    if rank() == 0:
        print(json.dumps(told, indent=1))
        lines = "\n".join(f"{key} = {_toml(value)}" for key, value in settings.items())
        print(f"\n[policies.lsvcr]\n{lines}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="dataset directory")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint directory")
    parser.add_argument("--llm", default="embedded", help="name or directory of a causal LM")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="small")
    parser.add_argument("--seed", type=int, default=1, help="seed of training")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="alignment settings, as batch=4"
    )
    return parser.parse_args(arguments)


def _setting(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    try:
        if not separator:
            raise ValueError
        return name, json.loads(value)
    except (ValueError, RecursionError):
        raise PolicyError(f"--set {text} is no setting.", "Example: --set batch=4") from None


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
