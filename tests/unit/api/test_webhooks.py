"""Webhook endpoints over HTTP, and bringing events to a real receiver."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import pytest
from api_calls import error_of
from factories import make_job
from fastapi import FastAPI
from openai import OpenAI
from starlette.testclient import TestClient
from webhook_receiver import receiving

from pando_api.webhook_delivery import Sender
from pando_api.webhook_post import WebhookPost
from pando_shared.clock import FakeClock
from pando_shared.jobs import JobState
from pando_shared.recovery import recover
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.stub import StubStore
from pando_shared.webhooks import EVENT_TYPES, MAX_ENDPOINTS

PATH = "/v1/webhook_endpoints"
BODY = {"name": "mine", "url": "https://example.com/hook", "event_types": list(EVENT_TYPES)}


@pytest.fixture
def settings() -> Settings:
    """Receivers of these tests are on this machine."""
    return Settings(dtype="float32", webhook_allow=(ip_network("127.0.0.1/32"),))


@pytest.fixture
def sender(app: FastAPI, settings: Settings) -> Sender:
    return Sender(app.state.services, WebhookPost(settings.webhook_allow))


async def deliver(sender: Sender) -> int:
    """All that is due now; returns how many those were."""
    claimed = await sender.claim()
    await sender.drain()
    return claimed


def end_a_job(store: StubStore, tenant: str = "acme") -> str:
    job = store.create_job(make_job(tenant=tenant))
    store.update_job(job.id, lambda job: job.to(JobState.CANCELLED))
    return job.id


def test_an_endpoints_life(client: TestClient) -> None:
    made = client.post(PATH, json=BODY).json()
    secret = made.pop("signing_secret")
    assert secret.startswith("whsec_")
    assert made["signing_secret_hint"].endswith(secret[-4:])
    assert made["status"] == "active"
    one = f"{PATH}/{made['id']}"
    assert client.get(one).json() == made
    assert client.get(PATH).json()["data"] == [made]
    changed = client.post(one, json={"name": "renamed"}).json()
    assert (changed["name"], changed["url"]) == ("renamed", BODY["url"])
    rotated = client.post(f"{one}/rotate_secret", json={}).json()
    assert rotated["signing_secret"] != secret
    assert client.post(f"{one}/rotate_secret").json()["signing_secret"]
    assert client.delete(one).json() == {
        "id": made["id"],
        "object": "webhook_endpoint.deleted",
        "deleted": True,
    }
    error_of(client.get(one), 404)
    assert client.get("/v1/webhook_event_types").json()["data"] == list(EVENT_TYPES)


def test_a_tenant_sees_its_own_alone(
    client: TestClient, client_for: Callable[[str], TestClient]
) -> None:
    one = f"{PATH}/{client.post(PATH, json=BODY).json()['id']}"
    other = client_for("other")
    assert other.get(PATH).json()["data"] == []
    error_of(other.get(one), 404)
    error_of(other.post(one, json={"name": "x"}), 404)
    error_of(other.delete(one), 404)
    error_of(other.post(f"{one}/rotate_secret"), 404)
    error_of(other.post(f"{one}/test", json={"event_type": EVENT_TYPES[0]}), 404)
    assert client.get(one).json()["name"] == "mine"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["batch.completed"]}, "event_types.0"),
        ({"name": ""}, "name"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_cannot_be_is_refused(
    client: TestClient, change: dict[str, object], param: str
) -> None:
    assert error_of(client.post(PATH, json=BODY | change), 400)["param"] == param
    made = client.post(PATH, json=BODY).json()
    assert error_of(client.post(f"{PATH}/{made['id']}", json=change), 400)["param"] == param


def test_a_tenant_cannot_have_any_number(client: TestClient) -> None:
    for _ in range(MAX_ENDPOINTS):
        assert client.post(PATH, json=BODY).status_code == 200
    assert "delete one" in error_of(client.post(PATH, json=BODY), 400)["message"]


async def test_an_event_arrives_signed_and_once(
    client: TestClient,
    store: StubStore,
    sender: Sender,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time", clock.now)
    with receiving() as receiver:
        made = client.post(PATH, json=BODY | {"url": receiver.url}).json()
        job_id = end_a_job(store)
        end_a_job(store, "other")
        assert await deliver(sender) == 1
        assert await deliver(sender) == 0
    ((headers, body),) = receiver.received
    stock = OpenAI(api_key="-", webhook_secret=made["signing_secret"])
    event = stock.webhooks.unwrap(body, headers)
    assert (event.type, event.data.id) == ("fine_tuning.job.cancelled", job_id)
    assert headers["webhook-id"] == event.id
    assert store.count_deliveries() == 0


async def test_a_refusal_is_tried_again_under_the_same_id_and_told(
    client: TestClient, store: StubStore, sender: Sender, clock: FakeClock
) -> None:
    with receiving(500, 307) as receiver:
        made = client.post(PATH, json=BODY | {"url": receiver.url}).json()
        end_a_job(store)
        await deliver(sender)
        shown = client.get(f"{PATH}/{made['id']}").json()
        assert (shown["status"], shown["last_error"]) == ("failing", "it answered 500")
        assert await deliver(sender) == 0
        clock.advance(6.1)
        await deliver(sender)  # a redirect is no success, and is not followed
        clock.advance(361.0)
        await deliver(sender)
        assert client.get(f"{PATH}/{made['id']}").json()["status"] == "active"
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    assert len(receiver.received) == 3
    assert store.count_deliveries() == 0


async def test_one_that_is_gone_is_written_to_no_more_until_it_is_changed(
    client: TestClient, store: StubStore, sender: Sender
) -> None:
    with receiving(410) as receiver:
        made = client.post(PATH, json=BODY | {"url": receiver.url}).json()
        end_a_job(store)
        await deliver(sender)
        assert client.get(f"{PATH}/{made['id']}").json()["status"] == "disabled"
        end_a_job(store)
        assert await deliver(sender) == 0
        client.post(f"{PATH}/{made['id']}", json={})
        end_a_job(store)
        await deliver(sender)
    assert len(receiver.received) == 2


async def test_one_that_does_not_answer_is_given_up_in_the_end(
    client: TestClient, store: StubStore, sender: Sender, clock: FakeClock
) -> None:
    with receiving() as receiver:
        url = receiver.url
    made = client.post(PATH, json=BODY | {"url": url}).json()
    end_a_job(store)
    attempts = 0
    while store.count_deliveries():
        attempts += await deliver(sender)
        clock.advance(1.3 * 86_400)
    assert attempts == 10
    shown = client.get(f"{PATH}/{made['id']}").json()
    assert shown["status"] == "disabled"
    assert "refused" in shown["last_error"] or "failed" in shown["last_error"]


async def test_what_is_under_way_to_a_deleted_one_is_dropped(
    client: TestClient, store: StubStore, sender: Sender
) -> None:
    with receiving() as receiver:
        made = client.post(PATH, json=BODY | {"url": receiver.url}).json()
        end_a_job(store)
        client.delete(f"{PATH}/{made['id']}")
        await deliver(sender)
    assert receiver.received == []
    assert store.count_deliveries() == 0


async def test_an_address_that_has_become_forbidden_is_not_written_to(
    client: TestClient, app: FastAPI, store: StubStore
) -> None:
    with receiving() as receiver:
        made = client.post(PATH, json=BODY | {"url": receiver.url}).json()
        end_a_job(store)
        await deliver(Sender(app.state.services, WebhookPost(())))
        shown = client.get(f"{PATH}/{made['id']}").json()
    assert receiver.received == []
    assert "no public address" in shown["last_error"]


def test_a_test_event_tells_what_was_answered(client: TestClient) -> None:
    ask = {"event_type": EVENT_TYPES[0]}
    with receiving(418) as receiver:
        made = client.post(PATH, json=BODY | {"url": receiver.url}).json()
        answer = client.post(f"{PATH}/{made['id']}/test", json=ask).json()
        assert (answer["status_code"], answer["success"]) == (418, True)
        assert len(receiver.received) == 1
    failed = error_of(client.post(f"{PATH}/{made['id']}/test", json=ask), 400)
    assert "not delivered" in failed["message"]


def test_endpoints_come_back_from_storage(
    client: TestClient, store: StubStore, storage: Storage, clock: FakeClock
) -> None:
    kept, deleted = (client.post(PATH, json=BODY).json()["id"] for _ in range(2))
    client.post(f"{PATH}/{kept}", json={"name": "renamed"})
    client.delete(f"{PATH}/{deleted}")
    known = store.list_endpoints("acme")
    lost = StubStore(clock)
    assert recover(lost, storage, clock.now()).webhooks == 1
    assert lost.list_endpoints("acme") == known
