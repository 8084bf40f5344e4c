"""Work done ahead: in order, bounded, with errors in their place, and stopped with the caller."""

from __future__ import annotations

import threading

import pytest

from mots_pretrained.inference.ahead import ahead


def test_items_come_in_order_and_errors_in_their_place():
    assert list(ahead(range(5))) == [0, 1, 2, 3, 4]
    assert list(ahead([])) == []

    def fails():
        yield 1
        raise ZeroDivisionError

    items = ahead(fails())
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)


@pytest.mark.parametrize("most", [1, 3])
def test_as_many_are_computed_ahead_as_allowed(most):
    begun, at_most = [], threading.Event()

    def work():
        for number in range(10):
            begun.append(number)
            if len(begun) == most + 1:
                at_most.set()
            yield number

    items = ahead(work(), most=most)
    assert next(items) == 0
    assert at_most.wait(10)  # while 0 is worked on, the next are computed
    assert not threading.Event().wait(0.05)
    assert begun == list(range(most + 1))
    assert list(items) == list(range(1, 10))


def test_a_caller_who_stops_ends_the_thread_and_closes_the_generator():
    closed = threading.Event()

    def work():
        try:
            yield from range(1000)
        finally:
            closed.set()

    before = threading.active_count()
    items = ahead(work())
    assert next(items) == 0
    items.close()
    assert closed.is_set()
    assert threading.active_count() == before
