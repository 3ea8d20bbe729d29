"""What a recovery by command starts from."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def job(recovery_job: Path) -> Path:
    return recovery_job
