"""Counter-based randomness: every draw is a pure function of what it is for.

A draw is addressed by a seed, a purpose and any number of counters (user, session, step, slot).
No generator state exists, so the result does not depend on batch composition, worker count or
interruptions, and two arms that ask for the same address share the same noise.

The mixing function is the SplitMix64 finaliser (Steele, Lea & Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014), applied once per counter.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

UInt64 = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53
_BELOW_ONE = 1.0 - 2.0**-53


def purpose_key(seed: int, purpose: str) -> np.uint64:
    """The 64-bit key of one purpose under one seed.

    Args:
        seed: Any integer; the experiment's or the world's seed.
        purpose: A name such as ``"feed.session"``; distinct names give independent streams.
    """
    digest = hashlib.blake2b(f"{int(seed)}\x00{purpose}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def mix(key: Any, *counters: Any) -> UInt64:
    """Fold integer counters into a key; arguments broadcast against each other.

    Args:
        key: uint64 scalar or array.
        *counters: Integers or integer arrays (negative values wrap around, which is well defined).

    Returns:
        uint64 array of the broadcast shape (zero-dimensional for scalars).
    """
    state = np.asarray(key, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for counter in counters:
            word = np.asarray(counter)
            if word.dtype != np.uint64:
                word = word.astype(np.int64).view(np.uint64)
            # In place where it can be: these arrays are the largest of the feed's hot path.
            bits = np.asarray(state ^ (word * _GOLDEN))
            bits += _GOLDEN
            shifted = np.empty_like(bits)
            np.right_shift(bits, np.uint64(30), out=shifted)
            bits ^= shifted
            bits *= _MULTIPLY_1
            np.right_shift(bits, np.uint64(27), out=shifted)
            bits ^= shifted
            bits *= _MULTIPLY_2
            np.right_shift(bits, np.uint64(31), out=shifted)
            bits ^= shifted
            state = bits
    return state


def uniform(key: Any, *counters: Any) -> NDArray[np.float64]:
    """Uniform draws in the open interval (0, 1), one per broadcast address."""
    bits = mix(key, *counters)
    draws = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * _TO_UNIT
    # In float64 the largest of the 2^53 values rounds up to 1, whose normal quantile is infinite.
    return np.minimum(draws, _BELOW_ONE)


def quick_uniform(key: Any, counter: Any) -> NDArray[np.float32]:
    """float32 draws in the open interval (0, 1): 23 bits from 32-bit arithmetic.

    Several times cheaper than `uniform`; for orders and ties, not for what is estimated. The mixing
    function is MurmurHash3's 32-bit finaliser (Appleby, public domain).

    Args:
        key: uint64 array; its high half is used.
        counter: int32 array that broadcasts against it.
    """
    bits = (np.asarray(key, dtype=np.uint64) >> np.uint64(32)).astype(np.uint32)
    with np.errstate(over="ignore"):
        bits = bits ^ (np.asarray(counter).astype(np.uint32) * np.uint32(0x9E3779B1))
        bits ^= bits >> np.uint32(16)
        bits *= np.uint32(0x85EBCA6B)
        bits ^= bits >> np.uint32(13)
        bits *= np.uint32(0xC2B2AE35)
        bits ^= bits >> np.uint32(16)
    return _unit_float32(bits)


def normal(key: Any, *counters: Any) -> NDArray[np.float64]:
    """Standard normal draws by inversion, one per broadcast address."""
    return np.asarray(ndtri(uniform(key, *counters)), dtype=np.float64)


def uniforms(key: Any, count: int) -> NDArray[np.float32]:
    """float32[..., count] in the open interval (0, 1): two draws per 64-bit word, 23 bits each.

    Cheaper than `uniform` where many draws belong to one address; not for events rarer than
    one in a million.
    """
    words = mix(np.asarray(key)[..., None], np.arange((count + 1) // 2))
    return _unit_float32(words.view(np.uint32)[..., :count])


def _unit_float32(bits: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Draws from the high 23 bits: with the half they are exact, so neither 0 nor 1 comes out."""
    draws = (bits >> np.uint32(9)).astype(np.float32)
    draws += np.float32(0.5)
    draws *= np.float32(2.0**-23)
    return draws
