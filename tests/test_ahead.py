"""Stages side by side: order, ends, exceptions, and one position a reader over a shared file."""

import io
import threading
import time

import pytest
import torch
from fev.codec.media.source import SharedView
from fev.codec.threads.ahead import Ahead, threads_for_tensors


def test_everything_comes_in_order():
    with Ahead(range(500), 3) as items:
        assert list(items) == list(range(500))


def test_an_exception_comes_in_its_place():
    def source():
        yield 1
        raise KeyError("here")

    got = []
    with pytest.raises(KeyError, match="here"), Ahead(source(), 4) as items:
        for item in items:
            got.append(item)
    assert got == [1]


def test_it_runs_ahead_by_its_depth_and_stops_when_closed():
    made, ended = [], threading.Event()

    def source():
        try:
            for i in range(1000):
                made.append(i)
                yield i
        finally:
            ended.set()

    with Ahead(source(), 3) as items:
        assert next(iter(items)) == 0
        deadline = time.monotonic() + 5
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        assert len(made) == 5  # one taken, three that wait, one in hand
    assert ended.is_set()


def test_the_generator_is_closed_in_its_own_thread():
    threads = set()

    def source():
        try:
            while True:
                threads.add(threading.current_thread().name)
                yield 0
        finally:
            threads.add(threading.current_thread().name)

    with Ahead(source(), 1) as items:
        next(iter(items))
    assert threads == {"fev-ahead"}


def test_a_stage_computes_on_one_thread_and_leaves_the_others_alone():
    def source():
        yield torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(2)  # whatever the tests run with
    try:
        with Ahead(source(), 1) as items:
            assert list(items) == [1]
        with threads_for_tensors(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_source_that_waits_for_ever_is_not_waited_for():
    gate = threading.Event()

    def source():
        yield 1
        gate.wait(30)

    started = time.monotonic()
    with Ahead(source(), 1, patience=0.2) as items:
        next(iter(items))
    assert time.monotonic() - started < 5
    gate.set()


def test_two_views_of_one_file_read_side_by_side():
    """A seek of one between the other's seek and read would give it foreign bytes."""

    class Slow(io.BytesIO):
        def seek(self, *args):
            where = super().seek(*args)
            time.sleep(0.0005)
            return where

    data = bytes(range(256)) * 8
    file = Slow(data)
    got: dict[int, bytes] = {}

    def read(view, number):
        got[number] = b"".join(view.read(16) for _ in range(len(data) // 16))

    workers = [threading.Thread(target=read, args=(SharedView(file), i)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert got == {0: data, 1: data}
