"""Name the methods by which intervals are computed."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import DataError

LIKELIHOOD, BOOTSTRAP, BERNSTEIN = "likelihood", "bootstrap", "bernstein"
DRAWS, SEED = 2_000, 0
LEAST_DRAWS = 200


@dataclass(frozen=True)
class Intervals:
    """How intervals are computed.

    Attributes:
        method: ``"student"``, ``"likelihood"`` (empirical likelihood where it is wider) or
            ``"bootstrap"`` (users drawn with replacement, studentised).
        draws: Of the bootstrap, at least 200.
        seed: Of the draws, 0 or more.
    """

    method: str = "student"
    draws: int = DRAWS
    seed: int = SEED

    def __post_init__(self) -> None:
        if self.method == BERNSTEIN:
            raise DataError(
                "empirical Bernstein needs values between two known bounds, which only ips of a "
                "share has, and that is never read first.",
                "See it beside the others: --estimators all",
            )
        if self.method not in ("student", LIKELIHOOD, BOOTSTRAP):
            raise DataError(
                f"unknown interval '{self.method}'.",
                f"Known: student, {LIKELIHOOD}, {BOOTSTRAP}.",
            )
        if self.draws < LEAST_DRAWS or self.seed < 0:
            raise DataError(
                f"{self.draws} draws with seed {self.seed}.",
                f"Draws are {LEAST_DRAWS} or more, the seed 0 or more.",
            )

    def describe(self) -> str:
        """A sentence for people."""
        if self.method == BOOTSTRAP:
            return f"95 % intervals by a bootstrap over users ({self.draws:,} draws)."
        return "95 % intervals, clustered by user."


STUDENT = Intervals()
