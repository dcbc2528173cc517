"""Write a policy file that runs as generated and passes the contract, and its tests."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

Kind = Literal["video", "comment", "sequence"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_TEMPLATES = Path(__file__).with_name("templates")


def class_name(stem: str) -> str:
    """``my_policy`` to ``MyPolicy``."""
    return "".join(part[:1].upper() + part[1:] for part in stem.split("_") if part) or "Policy_"


def policy_source(stem: str, kind: Kind = "video") -> str:
    """Text of the file ``stem.py``.

    Args:
        stem: Name of the file, without ``.py``.
        kind: ``video`` and ``comment`` rank these by counting; ``sequence`` trains a network on
            the videos that people liked.
    """
    return _filled(kind, stem)


def suite_source(stem: str) -> str:
    """Text of the file ``test_stem.py``: one test per rule of the contract."""
    return _filled("test", stem)


def _filled(template: str, stem: str) -> str:
    text = (_TEMPLATES / f"{template}.py.txt").read_text(encoding="utf-8")
    return text.replace("__NAME__", class_name(stem)).replace("__FILE__", f"{stem}.py")
