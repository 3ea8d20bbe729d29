"""Work shared out among threads."""

from __future__ import annotations

import os
import threading

import pytest
import scipy.linalg  # noqa: F401, it brings a BLAS of its own
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

from pimc.work.threads import blas_on_one, shared_out


@given(st.integers(0, 50), st.integers(1, 5))
def test_all_is_done_once_and_in_order(count: int, threads: int) -> None:
    found = shared_out(count, threads, lambda first, last: list(range(first, last)))
    assert [n for part in found for n in part] == list(range(count))
    assert len(found) == max(1, min(count, threads))


def test_parts_are_worked_on_at_the_same_time() -> None:
    met = threading.Barrier(3)
    assert len(shared_out(3, 3, lambda first, last: met.wait(timeout=30))) == 3


def test_what_fails_in_a_thread_fails_here() -> None:
    def fails(first: int, last: int) -> None:
        raise ValueError(first)

    with pytest.raises(ValueError, match="0"):
        shared_out(4, 2, fails)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    shared_out(2, 2, lambda first, last: None)
    child = os.fork()
    if not child:
        os._exit(len(shared_out(2, 2, lambda first, last: None)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def test_blas_computes_on_one_thread_until_the_last_is_done() -> None:
    def threads() -> list[int]:
        return [
            library["num_threads"]
            for library in threadpoolctl.threadpool_info()
            if library.get("threading_layer") == "pthreads"
        ]

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = threads()
        first, second = blas_on_one(), blas_on_one()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        inside = threads()
        second.__exit__(None, None, None)
        assert before == threads() == [2] * len(inside)
        assert inside == [1] * len(inside)
