"""An answer stalls when a client takes nothing of it from one look to the next."""

from __future__ import annotations

import socket

from pando_api.unread_answer import UnreadAnswer, bound_unsent


def test_what_lies_there_at_two_looks_has_stalled() -> None:
    answer = UnreadAnswer()
    assert not answer.has_stalled(100, may_grow=False)
    assert answer.has_stalled(100, may_grow=False)


def test_what_becomes_less_has_not() -> None:
    answer = UnreadAnswer()
    looks = [answer.has_stalled(unsent, may_grow=False) for unsent in (100, 99, 1, 0)]
    assert not any(looks)


def test_where_nothing_is_to_be_sent_nothing_stalls() -> None:
    answer = UnreadAnswer()
    assert not any(answer.has_stalled(0, may_grow=grows) for grows in (False, True, False, False))


def test_what_was_taken_meanwhile_counts_though_as_much_lies_there_again() -> None:
    answer = UnreadAnswer()
    for _ in range(3):
        assert not answer.has_stalled(100, may_grow=False)
        answer.moved()


def test_what_may_grow_is_judged_once_it_cannot() -> None:
    answer = UnreadAnswer()
    assert not any(answer.has_stalled(100, may_grow=True) for _ in range(3))
    assert not answer.has_stalled(100, may_grow=False)
    assert answer.has_stalled(100, may_grow=False)


def test_little_lies_in_the_system() -> None:
    """All else that a client does not take is counted here: megabytes otherwise."""
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as sender:
        reader, _ = listener.accept()
        with reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            bound_unsent(sender)
            sender.setblocking(False)
            sent = 0
            try:
                while True:
                    sent += sender.send(bytes(65536))
            except BlockingIOError:
                pass
    assert sent < 1 << 20
