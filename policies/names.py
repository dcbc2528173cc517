"""Keep the table of policies by name; each room registers its own when it is imported.

A target is ``module:Class`` and is imported only when the policy is asked for, so that listing
names does not load torch. Rooms above this one (`lsvcr`, `abtest`) register what is theirs from
`abtest`: nothing here knows them.
"""

from __future__ import annotations

ENTRY_POINTS = "abtest.policies"
"""Group in which installed packages name their policies."""

BUILT_IN: dict[str, str] = {}
"""Name to ``module:Class``."""


def register(**targets: str) -> None:
    """Add policies by name.

    Args:
        **targets: Name to ``module:Class``; an underscore in a name stands for a hyphen.
    """
    BUILT_IN.update({name.replace("_", "-"): target for name, target in targets.items()})
