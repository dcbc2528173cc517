"""Draws are uniform, independent, and a function of nothing but their address.

Statistical checks have fixed seeds, so they cannot flicker. Each states how often a perfect
generator would fail it at a freshly chosen seed: `ERROR_RATE`.
"""

from __future__ import annotations

import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from simulator.randomness import mix, normal, purpose_key, quick_uniform, uniform, uniforms, words

ERROR_RATE = 1e-4
WORD = 2**64
anywhere = st.integers(-(2**63), 2**63 - 1)
keys = st.integers(0, WORD - 1)


def splitmix(key: int, *counters: int) -> int:
    """The documented formula in unbounded integers."""
    for counter in counters:
        bits = ((key ^ (counter * 0x9E3779B97F4A7C15 % WORD)) + 0x9E3779B97F4A7C15) % WORD
        bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % WORD
        bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % WORD
        key = bits ^ (bits >> 31)
    return key


def murmur(key: int, counter: int) -> int:
    """The documented 32-bit formula in unbounded integers."""
    word = 2**32
    bits = (counter * 0x9E3779B1 + key) % word
    bits = (bits ^ (bits >> 16)) * 0x85EBCA6B % word
    bits = (bits + (key >> 32)) % word
    bits = (bits ^ (bits >> 13)) * 0xC2B2AE35 % word
    return bits ^ (bits >> 16)


def independence(first: np.ndarray, second: np.ndarray, bins: int = 16) -> float:
    """p-value of a chi-square test of two uniform streams being independent and uniform."""
    cells = (first * bins).astype(np.int64) * bins + (second * bins).astype(np.int64)
    return float(stats.chisquare(np.bincount(cells.ravel(), minlength=bins * bins)).pvalue)


# -- exact values ---------------------------------------------------------------------------------


@given(key=keys, counters=st.lists(anywhere, max_size=4))
def test_mix_is_splitmix_per_counter(key: int, counters: list[int]) -> None:
    assert int(mix(np.uint64(key), *counters)) == splitmix(key, *counters)


@given(key=keys, counter=st.integers(-(2**31), 2**31 - 1))
def test_words_are_the_finaliser_with_a_key(key: int, counter: int) -> None:
    assert int(words(np.uint64(key), counter)) == murmur(key, counter % 2**32)


def test_first_output_of_splitmix64() -> None:
    # The published reference implementation, seeded with 0, starts with this word.
    assert int(mix(0, 0)) == 0xE220A8397B1DCDAF


def test_golden_words() -> None:
    """Any change of these numbers changes every simulated log: old runs cannot be reproduced."""
    key = purpose_key(7, "feed.request")
    assert int(key) == 0x442035E0F95029CA
    assert [int(word) for word in mix(key, [0, 1, -1], 5)] == [
        0xB205F1D094B64C1B,
        0x9578F6EFB73FB766,
        0xAAFCBA3912B5A1C1,
    ]
    assert uniform(key, [0, 1]).tobytes().hex() == "9a6e4256b0e6ef3f5298a5da551ee63f"
    assert uniforms(key, 3).tobytes().hex() == "cc31473e34d8373eb3a6303f"


def test_another_process_draws_the_same() -> None:
    """No process-dependent state (such as salted hashing of strings) gets in."""
    program = "from simulator.randomness import *; print(int(mix(purpose_key(3, 'x'), 1, 2)))"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) == int(mix(purpose_key(3, "x"), 1, 2))


@given(seed=st.integers(), other=st.integers(), purpose=st.text(max_size=8))
def test_purpose_keys_depend_on_seed_and_name(seed: int, other: int, purpose: str) -> None:
    assert purpose_key(seed, purpose) == purpose_key(seed, purpose)
    assert purpose_key(seed, purpose) != purpose_key(seed, purpose + "'")
    assert (purpose_key(seed, purpose) == purpose_key(other, purpose)) == (seed == other)


def test_seed_and_purpose_cannot_run_into_each_other() -> None:
    assert purpose_key(1, "1x") != purpose_key(11, "x")


# -- addresses ------------------------------------------------------------------------------------


@given(key=keys, users=st.permutations(range(12)), step=anywhere)
def test_permuting_users_permutes_draws(key: int, users: list[int], step: int) -> None:
    order = np.array(users)
    address = np.uint64(key)
    assert np.array_equal(
        uniform(address, order, step), uniform(address, np.arange(12), step)[order]
    )
    addresses = mix(address, np.arange(12), step)
    assert np.array_equal(uniforms(addresses[order], 5), uniforms(addresses, 5)[:, order])


@given(key=keys, users=st.lists(anywhere, min_size=1, max_size=6), slots=st.integers(1, 4))
def test_a_batch_holds_what_each_of_its_members_draws_alone(
    key: int, users: list[int], slots: int
) -> None:
    address = np.uint64(key)
    together = mix(address, np.array(users)[:, None], np.arange(slots))
    assert together.shape == (len(users), slots)
    for row, user in enumerate(users):
        for slot in range(slots):
            assert together[row, slot] == mix(address, user, slot)


@given(key=keys, first=anywhere, rest=st.lists(anywhere, max_size=3))
def test_folding_in_counters_one_after_the_other_is_the_same_address(
    key: int, first: int, rest: list[int]
) -> None:
    assert mix(mix(np.uint64(key), first), *rest) == mix(np.uint64(key), first, *rest)


@given(value=st.integers(-(2**31), 2**31 - 1))
def test_integer_type_of_a_counter_does_not_matter(value: int) -> None:
    expected = mix(1, value)
    assert mix(1, np.int32(value)) == expected
    assert mix(1, np.array([value], dtype=np.int64))[0] == expected
    assert mix(1, np.uint64(value % WORD)) == expected


def test_adjacent_addresses_never_share_a_word() -> None:
    drawn = mix(purpose_key(0, "t"), np.arange(300)[:, None], np.arange(300))
    # Among 90,000 random 64-bit words two are equal with probability 2e-10.
    assert len(np.unique(drawn)) == drawn.size


@given(key=keys, count=st.integers(1, 9), more=st.integers(0, 5))
def test_asking_for_more_numbers_keeps_the_first_ones(key: int, count: int, more: int) -> None:
    address = np.uint64(key)
    assert np.array_equal(uniforms(address, count + more)[:count], uniforms(address, count))


def test_numbers_of_one_address_do_not_depend_on_memory_layout() -> None:
    addresses = mix(purpose_key(0, "t"), np.arange(12).reshape(3, 4))
    drawn = uniforms(addresses, 3)
    assert np.array_equal(uniforms(np.asfortranarray(addresses), 3), drawn)
    assert np.array_equal(uniforms(addresses.T, 3), drawn.transpose(0, 2, 1))


@given(key=keys, counter=st.integers(-50, 50), first=st.integers(0, 8), count=st.integers(1, 8))
def test_a_draw_is_found_by_its_counter_and_number(
    key: int, counter: int, first: int, count: int
) -> None:
    address = np.uint64(key)
    together = uniforms(address, 16, np.arange(-50, 51))
    alone = uniforms(address, count, counter, first)
    assert np.array_equal(alone, together[first : first + count, counter + 50])
    # No two (counter, number) are one draw.
    assert len(np.unique(words(address, np.arange(16 * 101)))) == 16 * 101


# -- distributions --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_uniform_draws_are_uniform(seed: int) -> None:
    draws = uniform(purpose_key(seed, "t"), np.arange(50_000))
    assert stats.kstest(draws, "uniform").pvalue > ERROR_RATE


@pytest.mark.parametrize("seed", range(4))
def test_normal_draws_are_normal(seed: int) -> None:
    draws = normal(purpose_key(seed, "t"), np.arange(50_000))
    assert stats.kstest(draws, "norm").pvalue > ERROR_RATE


@pytest.mark.parametrize("position", range(5))
def test_each_of_the_cheap_draws_is_uniform(position: int) -> None:
    draws = uniforms(mix(purpose_key(1, "t"), np.arange(50_000)), 5)
    assert draws.dtype == np.float32
    assert stats.kstest(draws[position].astype(np.float64), "uniform").pvalue > ERROR_RATE


def test_every_bit_is_fair() -> None:
    n = 40_000
    drawn = mix(purpose_key(5, "t"), np.arange(n))
    ones = np.array([int(((drawn >> np.uint64(b)) & np.uint64(1)).sum()) for b in range(64)])
    # 64 two-sided tests at once.
    limit = stats.norm.isf(ERROR_RATE / 64 / 2) * np.sqrt(n) / 2
    assert np.abs(ones - n / 2).max() < limit


def test_flipping_one_bit_of_a_counter_flips_half_of_the_word() -> None:
    counters = np.arange(2_000, dtype=np.int64)
    key = purpose_key(5, "t")
    for bit in (0, 1, 7, 31, 62):
        changed = np.bitwise_count(mix(key, counters) ^ mix(key, counters ^ (1 << bit)))
        # Binomial(64, 1/2), 5 tests at once.
        limit = stats.norm.isf(ERROR_RATE / 5 / 2) * 4.0 / np.sqrt(len(counters))
        assert abs(changed.mean() - 32.0) < limit


@pytest.mark.parametrize("over", ["counters", "keys"])
def test_every_bit_of_the_cheap_words_is_fair_and_goes_its_own_way(over: str) -> None:
    """32 bits along the counters of one key and along the keys of one counter, all pairs."""
    n = 60_000
    key = mix(purpose_key(5, "t"), np.arange(n) if over == "keys" else 0)
    drawn = words(key, 3 if over == "keys" else np.arange(n))
    signs = np.array([((drawn >> np.uint32(b)) & np.uint32(1)) * 2.0 - 1.0 for b in range(32)])
    # 32 means and 496 correlations at once.
    limit = stats.norm.isf(ERROR_RATE / 528 / 2) / np.sqrt(n)
    assert np.abs(signs.mean(axis=1)).max() < limit
    assert np.abs(np.triu(signs @ signs.T / n, 1)).max() < limit


def test_flipping_one_bit_of_key_or_counter_flips_half_of_a_cheap_word() -> None:
    n = 2_000
    key = mix(purpose_key(5, "t"), np.arange(n))
    counter = np.arange(n, dtype=np.int32)
    plain = words(key, counter)
    changed = [words(key ^ np.uint64(1 << bit), counter) for bit in range(64)]
    changed += [words(key, counter ^ np.int32(1 << bit)) for bit in range(16)]
    flipped = np.array([np.bitwise_count(c ^ plain).mean() for c in changed])
    # The half of the key that comes in between the rounds goes through the second one only: its
    # highest bits reach fewer. What matters is that every bit of key or counter changes the draw.
    through_both = np.r_[flipped[:32], flipped[64:]]
    limit = stats.norm.isf(ERROR_RATE / 48 / 2) * np.sqrt(32.0) / 2.0 / np.sqrt(n)
    assert np.abs(through_both - 16.0).max() < limit
    assert flipped[32:64].min() > 1.0


def test_open_interval_holds_at_its_ends() -> None:
    """The largest and smallest words there are, found by running the mixer backwards."""
    for word in (0, WORD - 1):
        key = unmix(word)
        assert int(mix(np.uint64(key), 0)) == word
        assert 0.0 < float(uniform(np.uint64(key), 0)) < 1.0
        assert np.isfinite(normal(np.uint64(key), 0))
        draw = uniforms(np.uint64(key), 2)
        assert ((draw > 0.0) & (draw < 1.0)).all()


def unmix(word: int) -> int:
    """The key whose `mix` with counter 0 is this word."""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        shifted = word
        for _ in range(64 // shift + 1):
            shifted = word ^ (shifted >> shift)
        word = shifted * pow(factor, -1, WORD) % WORD
    return (word - 0x9E3779B97F4A7C15) % WORD


@pytest.mark.parametrize(
    "pair",
    [
        "purposes",
        "seeds",
        "users",
        "steps",
        "swapped counters",
        "slots",
        "cheap numbers",
        "cheap numbers apart",
        "cheap slots",
        "cheap keys",
        "cheap counters",
        "cheap strides",
    ],
)
def test_neighbouring_addresses_draw_independently(pair: str) -> None:
    n = np.arange(100_000)
    key = purpose_key(11, "feed.session")
    cheap = uniforms(mix(key, n), 4)
    request = mix(key, 1)
    first, second = {
        "purposes": (uniform(key, n), uniform(purpose_key(11, "feed.request"), n)),
        "seeds": (uniform(key, n), uniform(purpose_key(12, "feed.session"), n)),
        "users": (uniform(key, 2 * n, 3), uniform(key, 2 * n + 1, 3)),
        "steps": (uniform(key, n, 3), uniform(key, n, 4)),
        "swapped counters": (uniform(key, n, n + 1), uniform(key, n + 1, n)),
        "slots": (uniform(key, 5, 2 * n), uniform(key, 5, 2 * n + 1)),
        "cheap numbers": (cheap[0], cheap[1]),
        "cheap numbers apart": (cheap[0], cheap[2]),
        "cheap slots": (cheap[0], uniforms(mix(key, n), 1, 1)[0]),
        "cheap keys": (cheap[0, :-1], cheap[0, 1:]),
        "cheap counters": (quick_uniform(request, n), quick_uniform(request, n + 1)),
        "cheap strides": (quick_uniform(request, 16 * n), quick_uniform(request, 16 * n + 16)),
    }[pair]
    assert independence(first, second) > ERROR_RATE


def test_independence_check_notices_a_shared_stream() -> None:
    draws = uniform(purpose_key(11, "t"), np.arange(100_000))
    moved = (draws + 0.02 * uniform(purpose_key(12, "t"), np.arange(100_000))) % 1.0
    assert independence(draws, moved) < 1e-12


@settings(max_examples=25, deadline=None)
@given(first=keys, second=keys)
def test_streams_of_any_two_keys_are_uncorrelated(first: int, second: int) -> None:
    if first == second:
        return
    n = 4_000
    pair = np.corrcoef(
        uniform(np.uint64(first), np.arange(n)), uniform(np.uint64(second), np.arange(n))
    )
    # Examples are freshly drawn: six standard deviations fail once in 20 million runs.
    assert abs(pair[0, 1]) < 6.0 / np.sqrt(n)
