"""Draw random numbers by counter: every draw is a pure function of what it is for.

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
_PER_ADDRESS = 16


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
    for counter in counters:
        word = np.asarray(counter)
        if word.dtype != np.uint64:
            word = word.astype(np.int64).view(np.uint64)
        if state.ndim == word.ndim == 0:
            # numpy warns when a single number wraps around, never when an array does.
            state = _mixed(state[None], word[None])[0]
        else:
            state = _mixed(state, word)
    return np.asarray(state)


def _mixed(state: UInt64, word: UInt64) -> UInt64:
    """`mix` for one counter; at least one of the two is an array."""
    bits = state ^ (word[None] * _GOLDEN)[0]
    # In place from here on: these arrays are among the largest of the feed's hot path.
    bits += _GOLDEN
    shifted = bits >> np.uint64(30)
    bits ^= shifted
    bits *= _MULTIPLY_1
    np.right_shift(bits, np.uint64(27), out=shifted)
    bits ^= shifted
    bits *= _MULTIPLY_2
    np.right_shift(bits, np.uint64(31), out=shifted)
    bits ^= shifted
    return np.asarray(bits)


def uniform(key: Any, *counters: Any) -> NDArray[np.float64]:
    """Uniform draws in the open interval (0, 1), one per broadcast address."""
    bits = mix(key, *counters)
    draws = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * _TO_UNIT
    # In float64 the largest of the 2^53 values rounds up to 1, whose normal quantile is infinite.
    return np.minimum(draws, _BELOW_ONE)


def normal(key: Any, *counters: Any) -> NDArray[np.float64]:
    """Standard normal draws by inversion, one per broadcast address."""
    return np.asarray(ndtri(uniform(key, *counters)), dtype=np.float64)


def words(key: Any, counter: Any) -> NDArray[np.uint32]:
    """32 random bits per broadcast address, in 32-bit arithmetic.

    Several times cheaper than `mix`, for the many small draws that belong to one key. It is
    MurmurHash3's 32-bit finaliser (Appleby, public domain) of the counter, which one half of the
    key is added to before, the other half between its two rounds.

    Args:
        key: uint64 array out of `mix`: its bits must be well mixed already.
        counter: int32 array that broadcasts against it.
    """
    key = np.asarray(key, dtype=np.uint64)[None]
    low, high = key.astype(np.uint32), (key >> np.uint64(32)).astype(np.uint32)
    # With one more axis than given, as numpy warns when a single number wraps around.
    bits = np.asarray(counter, dtype=np.int32)[None].astype(np.uint32)
    bits = bits * np.uint32(0x9E3779B1) + low
    shifted = bits >> np.uint32(16)
    bits ^= shifted
    bits *= np.uint32(0x85EBCA6B)
    bits += high
    np.right_shift(bits, np.uint32(13), out=shifted)
    bits ^= shifted
    bits *= np.uint32(0xC2B2AE35)
    np.right_shift(bits, np.uint32(16), out=shifted)
    bits ^= shifted
    return np.asarray(bits[0])


def quick_uniform(key: Any, counter: Any) -> NDArray[np.float32]:
    """float32 draws in the open interval (0, 1), one per broadcast address: 23 bits of `words`."""
    return _unit_float32(words(key, counter))


def uniforms(key: Any, count: int, counter: Any = 0, first: int = 0) -> NDArray[np.float32]:
    """float32[count, ...] in the open interval (0, 1): many draws per broadcast address.

    Cheaper than `uniform` where many draws belong to one key, 23 bits each; not for events rarer
    than one in a million.

    Args:
        key: uint64 array out of `mix`.
        count: Draws per address.
        counter: int32 array that broadcasts against the key: slots or comments, and what for.
        first: Number of the first draw; an address has 16 draws, numbered from 0.
    """
    counter = np.asarray(counter, dtype=np.int32)
    ndim = max(counter.ndim, np.ndim(key))
    number = np.arange(first, first + count, dtype=np.int32).reshape((count,) + (1,) * ndim)
    return quick_uniform(key, counter * np.int32(_PER_ADDRESS) + number)


def _unit_float32(bits: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Draws from the high 23 bits: with the half they are exact, so neither 0 nor 1 comes out.

    The bits are overwritten.
    """
    bits >>= np.uint32(9)
    # Below 2^23 the signed type holds the same numbers and converts several times faster.
    draws = bits.view(np.int32).astype(np.float32)
    draws += np.float32(0.5)
    draws *= np.float32(2.0**-23)
    return draws
