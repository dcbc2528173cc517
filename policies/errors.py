"""Define the errors of policies; the application maps them to exit codes."""

from __future__ import annotations

from typing import Self


class PolicyError(Exception):
    """Base class: what is wrong, where, and what to do next.

    Attributes:
        problem: One sentence.
        hint: The next command or the remedy; may be empty.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem} {hint}".strip())
        self.problem = problem
        self.hint = hint

    def naming(self, known: str, hidden: str) -> Self:
        """The same error about a log that people know, not about one that lies in our cache."""
        return type(self)(self.problem.replace(hidden, known), self.hint)


class UnknownPolicy(PolicyError):
    """No policy of that name or at that path, or settings it does not know.

    Attributes:
        setting: The setting at fault; "" where it is not one.
    """

    setting: str = ""


class UnsuitedLog(PolicyError):
    """A log lacks what a policy learns from; other policies may do with it."""


class PolicyContractError(PolicyError):
    """A policy returned something that the contract forbids.

    Attributes:
        place: "video" or "comment", its number and the user's number in the dataset, where one
            score is at fault; None elsewhere.
        asked: how many requests the call was given, and the first one's user number and time in
            Unix milliseconds; None where there was no request.
        trace: lines of the traceback that lie in the policy's own code, outermost first.
    """

    def __init__(
        self,
        problem: str,
        hint: str = "",
        *,
        place: tuple[str, int, int] | None = None,
        asked: tuple[int, int, int] | None = None,
        trace: tuple[str, ...] = (),
    ) -> None:
        super().__init__(problem, hint)
        self.place = place
        self.asked = asked
        self.trace = trace


class PolicyTooSlow(PolicyContractError):
    """A call of a policy took longer than it may."""


class CheckpointError(PolicyError):
    """Weights that are damaged or belong to other data, settings or code."""
