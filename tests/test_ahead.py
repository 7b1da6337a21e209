"""Items made ahead are the same, in their order, with their errors, and no more of them than asked for."""

import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.ahead import ahead


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "ahead"]


@given(st.lists(st.integers()), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_items_come_in_their_order(items: list[int], n_items: int) -> None:
    assert list(ahead(iter(items), n_items)) == items
    assert not threads()


def test_some_are_made_before_they_are_asked_for_and_no_more() -> None:
    made = []

    def making():
        for item in range(100):
            made.append(item)
            yield item

    taking = ahead(making(), 3)
    assert made == [], "nothing is made before the first is asked for"
    for item in taking:
        deadline = time.monotonic() + 5
        while len(made) < min(item + 4, 100) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.002)
        assert min(item + 4, 100) <= len(made) <= item + 5
        if item == 20:
            break


def test_an_error_comes_after_the_items_before_it() -> None:
    def making():
        yield 1
        yield 2
        raise OSError("the disk is gone")

    taking = ahead(making(), 8)
    assert [next(taking), next(taking)] == [1, 2]
    with pytest.raises(OSError, match="gone"):
        next(taking)
    assert not threads()


@pytest.mark.parametrize("n_taken", [1, 5])
def test_who_stops_asking_ends_the_thread_and_the_generator(n_taken: int) -> None:
    closed = []

    def making():
        try:
            yield from range(1_000_000)
        finally:
            closed.append(threading.current_thread().name)

    taking = ahead(making(), 2)
    for _ in range(n_taken):
        next(taking)
    assert threads() == ["ahead"]
    taking.close()
    assert not threads()
    assert closed == ["ahead"], "in the thread that walked it"


def test_one_that_is_never_asked_starts_no_thread() -> None:
    ahead(iter([1]), 1)
    assert not threads()


def test_a_program_ends_though_a_generator_is_still_held() -> None:
    """The thread is stopped before the interpreter is taken down around it."""
    program = """
import itertools, time
from mien.ahead import ahead

def making():
    try:
        for item in itertools.count():
            time.sleep(0.001)
            yield item
    finally:
        print("closed", flush=True)

held = ahead(making(), 1000)
next(held)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")
