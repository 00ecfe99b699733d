"""Pieces made in a second thread, one ahead."""

import threading

import pytest

from limbeck.ahead import ahead


def test_pieces_come_in_order_and_the_next_is_made_meanwhile():
    made = threading.Event()

    def pieces():
        yield 0
        made.set()
        yield 1
        yield None

    stream = ahead(pieces())
    assert next(stream) == 0
    assert made.wait(10)  # without anybody asking for it
    assert list(stream) == [1, None]
    assert list(ahead([])) == []


def test_an_error_comes_where_its_piece_is_due():
    def pieces():
        yield 1
        raise KeyError("second")

    stream = ahead(pieces())
    assert next(stream) == 1
    with pytest.raises(KeyError, match="second"):
        next(stream)


def test_no_more_than_one_piece_is_made_ahead():
    made = []
    stream = ahead(made.append(i) or i for i in range(5))
    assert next(stream) == 0
    assert next(stream) == 1
    assert len(made) <= 3
    stream.close()
    assert len(made) <= 3
