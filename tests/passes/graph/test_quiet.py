"""The libraries' chatter is kept off the terminal, and nothing stays changed."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest

from pimc.passes.graph.quiet import quiet


def test_within_the_block_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("onnxscript.rewriter")
    with quiet():
        logger.error("a rule did not apply")
        warnings.warn("overflow", stacklevel=1)
        assert np.float32(1) / np.zeros(1, np.float32) == np.inf
    assert not caplog.records
    logger.error("this is said")
    assert [record.message for record in caplog.records] == ["this is said"]


def test_an_error_comes_through_and_levels_are_as_before() -> None:
    logger = logging.getLogger("onnx_ir")
    before = logger.level
    with pytest.raises(KeyError) as caught, quiet():
        raise KeyError(logger.level)
    assert caught.value.args == (logging.CRITICAL,)
    assert logger.level == before
    with pytest.warns(UserWarning, match="again"):
        warnings.warn("again", stacklevel=1)
