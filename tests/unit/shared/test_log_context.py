"""Log lines know whom they are about, in whichever thread or task they are written."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pando_shared.log_context import add_to_log_context, log_context, named_ids


def test_inner_names_join_outer_ones_until_their_block_ends() -> None:
    assert named_ids() == {}
    with log_context(round_id="round-1"):
        with log_context(job_id="ftjob-1", round_id="round-2"):
            assert named_ids() == {"round_id": "round-2", "job_id": "ftjob-1"}
        assert named_ids() == {"round_id": "round-1"}
    assert named_ids() == {}


def test_names_end_where_an_error_leaves_the_block() -> None:
    with pytest.raises(ValueError, match="broken"), log_context(job_id="ftjob-1"):
        raise ValueError("broken")
    assert named_ids() == {}


def test_a_name_found_in_a_thread_of_a_request_is_named_in_the_request() -> None:
    """FastAPI runs plain functions in threads that have a copy of the request's context."""

    async def request() -> dict[str, str]:
        with log_context(request_id="req_1"):
            await asyncio.to_thread(add_to_log_context, tenant="acme")
            return dict(named_ids())

    assert asyncio.run(request()) == {"request_id": "req_1", "tenant": "acme"}


async def test_requests_at_the_same_time_do_not_mix() -> None:
    both_open = asyncio.Barrier(2)

    async def request(name: str) -> dict[str, str]:
        with log_context(request_id=name):
            await both_open.wait()
            add_to_log_context(tenant=f"tenant of {name}")
            await both_open.wait()
            return dict(named_ids())

    found = await asyncio.gather(request("a"), request("b"))
    assert found == [
        {"request_id": "a", "tenant": "tenant of a"},
        {"request_id": "b", "tenant": "tenant of b"},
    ]


def test_what_is_added_does_not_outlive_its_block() -> None:
    add_to_log_context(tenant="nobody")
    assert named_ids() == {}
    with log_context(request_id="req_1"):
        with log_context(job_id="ftjob-1"):
            add_to_log_context(tenant="acme")
        assert named_ids() == {"request_id": "req_1"}


def test_a_new_thread_names_nothing() -> None:
    found: list[object] = []
    with log_context(job_id="ftjob-1"):
        thread = threading.Thread(target=lambda: found.append(named_ids()))
        thread.start()
        thread.join()
    assert found == [{}]
