"""Signatures, the schedule of attempts, and what becomes of an endpoint that fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import make_job
from openai import InvalidWebhookSignatureError, OpenAI

from pando_shared.jobs import JobState
from pando_shared.webhooks import (
    DISABLE_AFTER_SECONDS,
    EVENT_TYPES,
    GRACE_SECONDS,
    Delivery,
    WebhookEndpoint,
    deliveries_of,
    new_secret,
    pause_after,
    signature_headers,
)

ENDPOINT = WebhookEndpoint(
    "whep_1", "acme", "n", "https://example.com", EVENT_TYPES, 0.0, 0.0, new_secret()
)
DELIVERY = Delivery("evt_1", "acme", "whep_1", EVENT_TYPES[0], "ftjob-1", 1_700_000_000.5)


def unwrap(headers: dict[str, str], secret: str, body: bytes = DELIVERY.body) -> object:
    """What OpenAI's client makes of a delivery; it refuses what is not well signed."""
    client = OpenAI(api_key="-", webhook_secret=secret)
    return client.webhooks.unwrap(body, headers)


def signed(*secrets: str, at: float) -> dict[str, str]:
    return signature_headers(secrets, DELIVERY.id, int(at), DELIVERY.body)


def test_the_stock_client_verifies_what_we_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    event = unwrap(signed(ENDPOINT.secret, at=1000.0), ENDPOINT.secret)
    assert event.type == "fine_tuning.job.succeeded"  # type: ignore[attr-defined]
    assert event.data.id == "ftjob-1"  # type: ignore[attr-defined]
    assert event.created_at == 1_700_000_000  # type: ignore[attr-defined]


@pytest.mark.parametrize("late", [-1000.0, 1000.0])
def test_the_stock_client_refuses_another_time_body_or_secret(
    monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    headers = signed(ENDPOINT.secret, at=1000.0)
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(headers, ENDPOINT.secret, DELIVERY.body + b" ")
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(headers, new_secret())
    monkeypatch.setattr("time.time", lambda: 1000.0 + late)
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(headers, ENDPOINT.secret)


def test_for_a_day_after_a_rotation_both_secrets_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    rotated = ENDPOINT.rotated(new_secret(), 1000.0, keep_old=True)
    headers = signed(*rotated.secrets(1000.0), at=1000.0)
    assert unwrap(headers, rotated.secret)
    assert unwrap(headers, ENDPOINT.secret)
    assert rotated.secrets(1000.0 + GRACE_SECONDS) == [rotated.secret]
    assert ENDPOINT.rotated(new_secret(), 1000.0, keep_old=False).old_secret is None


def test_secrets_are_not_in_a_traceback() -> None:
    rotated = ENDPOINT.rotated(new_secret(), 0.0, keep_old=True)
    assert "whsec_" not in repr(rotated)


@pytest.mark.parametrize(
    ("state", "event_type"),
    [
        (JobState.SUCCEEDED, "fine_tuning.job.succeeded"),
        (JobState.FAILED, "fine_tuning.job.failed"),
        (JobState.CANCELLED, "fine_tuning.job.cancelled"),
        (JobState.RUNNING, None),
    ],
)
def test_who_asked_for_it_is_told_of_a_jobs_end(state: JobState, event_type: str | None) -> None:
    job = replace(make_job(tenant="acme"), state=state, finished_at=9.0)
    asks = replace(ENDPOINT, id="whep_2", event_types=(str(event_type),))
    gone = replace(ENDPOINT, id="whep_3", disabled_at=1.0)
    other = replace(ENDPOINT, id="whep_4", event_types=("something.else",))
    found = deliveries_of(job, [asks, gone, other])
    assert [each.endpoint_id for each in found] == (["whep_2"] if event_type else [])
    assert all((each.event_type, each.created_at) == (event_type, 9.0) for each in found)


def test_pauses_grow_from_seconds_to_a_day_and_end() -> None:
    pauses = [pause_after(attempts, 0.0) for attempts in range(1, 11)]
    assert pauses[:2] == [5.0, 300.0]
    assert pauses[8] == 86_400
    assert pauses[9] is None
    known = [pause for pause in pauses if pause is not None]
    assert known == sorted(known)
    assert pause_after(1, 0.999) == pytest.approx(6.0, abs=0.01)


def test_an_endpoint_that_takes_nothing_for_days_is_given_up() -> None:
    failing = ENDPOINT.failed("it answered 500", 100.0, gone=False, was_last=False)
    assert failing.disabled_at is None
    assert failing.failing_since == 100.0
    late = 100.0 + DISABLE_AFTER_SECONDS
    assert failing.failed("no", late, gone=False, was_last=False).disabled_at is None
    assert failing.failed("no", late, gone=False, was_last=True).disabled_at == late
    assert failing.failed("no", 101.0, gone=True, was_last=False).disabled_at == 101.0
    assert failing.succeeded().failing_since is None
