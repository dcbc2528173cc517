"""Settings of all tests: a slow machine is not a failure, so property tests have no deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
