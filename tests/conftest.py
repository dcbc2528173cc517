"""Set up all tests: property tests without a deadline, one thread per process.

Tests run in two processes on two cores. A second thread in each makes small models several times
slower, so the threads of torch and Polars are set before either is imported.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")

from hypothesis import settings  # noqa: E402

# More examples, before a release: pytest --hypothesis-profile thorough
settings.register_profile("thorough", deadline=None, max_examples=300)
settings.register_profile("quick", deadline=None, max_examples=30)
settings.load_profile("quick")
