from __future__ import annotations

from typing import Any

import pytest

from tests.lsvcr.stage1.planted_log import Log


@pytest.fixture(scope="session")
def log(planted: Any) -> Log:
    return Log(planted)
