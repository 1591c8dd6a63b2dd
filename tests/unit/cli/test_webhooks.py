"""`pando webhooks`: what is sent, printed and returned."""

from __future__ import annotations

from fake_service import FakeService, Pando

ENDPOINT = {
    "id": "whep_1",
    "name": "pando",
    "url": "https://example.com/hook",
    "event_types": ["fine_tuning.job.failed"],
    "status": "failing",
    "last_error": "it answered 500",
    "created_at": 0,
}
WITH_SECRET = ENDPOINT | {"signing_secret": "whsec_AAAA"}


def test_create_asks_for_every_end_unless_told(pando: Pando, service: FakeService) -> None:
    service.on("POST", "/webhook_endpoints", WITH_SECRET)
    done = pando("webhooks", "create", "https://example.com/hook", "--json")
    assert done.json["signing_secret"] == "whsec_AAAA"
    assert service.body() == {
        "name": "pando",
        "url": "https://example.com/hook",
        "event_types": [f"fine_tuning.job.{end}" for end in ("succeeded", "failed", "cancelled")],
    }


def test_create_shows_the_secret_and_that_it_is_the_only_time(
    pando: Pando, service: FakeService
) -> None:
    service.on("POST", "/webhook_endpoints", WITH_SECRET)
    done = pando("webhooks", "create", "https://example.com/hook", "--event", "failed")
    assert service.body()["event_types"] == ["fine_tuning.job.failed"]
    assert "whsec_AAAA" in done.out
    assert "not shown again" in done.out


def test_list_tells_what_is_wrong(pando: Pando, service: FakeService) -> None:
    service.on("GET", "/webhook_endpoints", {"data": [ENDPOINT], "has_more": False})
    assert pando("webhooks", "list", "--json").json["data"] == [ENDPOINT]
    assert "whep_1" in pando("webhooks", "list").out


def test_rotate_delete_and_test(pando: Pando, service: FakeService) -> None:
    one = "/webhook_endpoints/whep_1"
    service.on("POST", f"{one}/rotate_secret", WITH_SECRET)
    service.on("POST", f"{one}/test", {"status_code": 204})
    service.on("DELETE", one, {"id": "whep_1", "deleted": True})
    assert "whsec_AAAA" in pando("webhooks", "rotate", "whep_1", "--keep-old").out
    assert service.body() == {"keep_old_secret_active_for_24_hours": True}
    assert "answered 204" in pando("webhooks", "test", "whep_1", "--event", "failed").out
    assert service.body() == {"event_type": "fine_tuning.job.failed"}
    assert "deleted" in pando("webhooks", "delete", "whep_1").out
