from __future__ import annotations

import httpx
import pytest
from fake_service import FakeService, error_response

from pando_cli.api import Api
from pando_cli.errors import KeyRejected, Refused, Unreachable, UsageError


def test_the_key_goes_along(api: Api, service: FakeService) -> None:
    service.on("GET", "/queue", {"data": []})
    api.queue()
    assert service.requests[0].headers["authorization"] == "Bearer sk-pando-test"


def test_a_refusal_carries_the_servers_words(api: Api, service: FakeService) -> None:
    answer = error_response(400, "rank must be in 1..1024, got 0", param="adapter.rank", code="x")
    service.on("POST", "/fine_tuning/jobs", answer)
    with pytest.raises(Refused, match=r"rank must be in 1\.\.1024, got 0") as caught:
        api.create_job({})
    assert (caught.value.status, caught.value.param, caught.value.code) == (
        400,
        "adapter.rank",
        "x",
    )


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_its_own_error(api: Api, service: FakeService, status: int) -> None:
    service.on("GET", "/queue", error_response(status, "unknown key"))
    with pytest.raises(KeyRejected, match="unknown key"):
        api.queue()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="<html>Bad Gateway</html>"),
        httpx.Response(502, json=["odd"]),
        httpx.Response(502, json={"error": "a string"}),
        httpx.Response(502, content=b"\xff\xfe"),
    ],
)
def test_an_error_without_our_shape_still_says_something(
    api: Api, service: FakeService, answer: httpx.Response
) -> None:
    service.on("GET", "/queue", answer)
    with pytest.raises(Refused, match="502 Bad Gateway"):
        api.queue()


def test_a_servers_own_failure_names_the_request(api: Api, service: FakeService) -> None:
    response = httpx.Response(
        500, json={"error": {"message": "oh"}}, headers={"x-request-id": "r7"}
    )
    service.on("GET", "/queue", response)
    with pytest.raises(Refused) as caught:
        api.queue()
    assert "r7" in str(caught.value.hint)


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("")])
def test_nobody_there(api: Api, service: FakeService, error: Exception) -> None:
    service.on("GET", "/queue", error)
    with pytest.raises(Unreachable, match=r"cannot reach http://pando\.test") as caught:
        api.queue()
    assert "pando up" in str(caught.value.hint)


def test_something_else_listens_there(api: Api, service: FakeService) -> None:
    service.on("GET", "/queue", httpx.Response(200, text="<html>hello</html>"))
    with pytest.raises(Refused, match="not JSON"):
        api.queue()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud83d"])
def test_what_json_has_no_form_for_is_not_sent(
    api: Api, service: FakeService, value: object
) -> None:
    with pytest.raises(UsageError, match="cannot be sent as JSON"):
        api.create_job({"learning_rate": value})
    assert service.requests == []
