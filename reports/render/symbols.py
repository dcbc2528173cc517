"""List the symbol of every outcome, verdict and check."""

from __future__ import annotations

SYMBOLS = {
    "better": "▲",
    "worse": "▼",
    "not clear": "○",
    "within margin": "■",
    "margin broken": "▼",
    "no data": "–",
    "suspicious": "?",
    "as expected": "✓",
    "false alarm": "!",
    "no verdict": "✕",
    "pass": "✓",
    "warn": "!",
    "fail": "✕",
    "not run": "–",
    "note": "i",
}
"""Beside every word that is also coloured, so that neither colour nor the word is needed alone."""
