"""Who makes room for a new connection."""

from __future__ import annotations

from pando_api.idle_connections import IdleConnections


def test_who_never_asked_goes_first_and_the_longest_waiting_of_those() -> None:
    idle: IdleConnections[str] = IdleConnections()
    idle.add_served("served first")
    idle.add_new("new first")
    idle.add_new("new second")
    idle.add_served("served second")
    order = [idle.take_first() for _ in range(5)]
    assert order == ["new first", "new second", "served first", "served second", None]


def test_where_something_is_asked_stays() -> None:
    idle: IdleConnections[str] = IdleConnections()
    idle.add_new("asks")
    idle.add_new("waits")
    idle.remove("asks")
    assert idle.take_first() == "waits"
    assert idle.take_first() is None


def test_who_asks_again_waits_anew() -> None:
    idle: IdleConnections[str] = IdleConnections()
    for connection in ("a", "b"):
        idle.add_served(connection)
    idle.remove("a")
    idle.add_served("a")
    assert idle.take_first() == "b"
