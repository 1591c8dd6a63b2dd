"""What an attacker sends comes to nothing: no crash, no leak, nothing reflected as a header."""

from __future__ import annotations

import gzip
import json
import logging
from typing import Any
from urllib.parse import quote

import pytest
from api_calls import error_of, upload
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_shared.settings import MIB
from pando_shared.storage import Storage

NAMES = [
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "....//....//etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\win.ini",
    "file-1\x00.jsonl",
    "file-1\r\nSet-Cookie: a=b",
    "*",
    "pando:keys",
    '"; drop table jobs; --',
    "${jndi:ldap://x}",
    "{{7*7}}",
    "a" * 5000,
    "ünïcödé",
]
PATHS = [
    "/v1/files/{}",
    "/v1/files/{}/content",
    "/v1/fine_tuning/jobs/{}",
    "/v1/fine_tuning/jobs/{}/events",
    "/v1/models/{}",
    "/v1/models/{}/content",
    "/v1/webhook_endpoints/{}",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", NAMES)
def test_no_name_in_a_path_leads_out_of_storage(client: TestClient, path: str, name: str) -> None:
    answer = client.get(path.format(quote(name, safe="")))
    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("name", NAMES)
def test_no_cursor_leads_anywhere(client: TestClient, name: str) -> None:
    for path in ("/v1/files", "/v1/fine_tuning/jobs", "/v1/fine_tuning/sweeps"):
        assert client.get(path, params={"after": name}).status_code in (400, 404)


@pytest.mark.parametrize(
    "model", ["../models/tiny", "/etc", "gpt2", "evil/repo", "https://example.com/model", "tiny\n"]
)
def test_a_model_is_one_of_those_configured(client: TestClient, model: str) -> None:
    """A name that is none of them reaches neither the hub nor the disk: it is not looked up."""
    body = {"model": model, "training_file": upload(client)["id"]}
    assert "model" in error_of(client.post("/v1/fine_tuning/jobs", json=body), 400)["message"]
    error_of(client.post("/v1/completions", json={"model": model, "prompt": "x"}), 404)


def raw(client: TestClient, content: bytes, **headers: str) -> object:
    kind = {"Content-Type": "application/json"} | headers
    return client.post("/v1/fine_tuning/jobs", content=content, headers=kind)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"model": ' + b"9" * 100_000 + b"}",
        b'{"model": 1e999999}',
        b'{"model": NaN}',
        b'{"model": "\\ud800"}',
        b"\xff\xfe{\x00}\x00",
        b"\x00",
        b"",
        b"null",
        json.dumps({f"key{i}": i for i in range(50_000)}).encode(),
        b'{"metadata": {"' + b"a" * 100_000 + b'": "x"}}',
        b'{"model": "tiny", "model": {"a": 1}}',
    ],
    ids=lambda content: repr(content[:16]),
)
def test_no_json_is_too_much(client: TestClient, content: bytes) -> None:
    error = error_of(raw(client, content), 400)
    assert len(error["message"]) < 2000


@pytest.mark.parametrize(
    "body",
    [
        {"\ud800": 1},
        {"adapter": {"type": "lora", "\ud800": 1}},
        {"hyperparameters": {"\ud800": 1}},
        {"metadata": {"\ud800": "x"}},
        {"metadata": {"x": "\ud800"}},
        {"suffix": "\ud800"},
        {"model": "\ud800"},
    ],
    ids=json.dumps,
)
def test_half_a_character_is_refused_wherever_it_stands(
    client: TestClient, body: dict[str, Any]
) -> None:
    content = json.dumps({"model": "tiny", "training_file": "file-1", **body})
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/fine_tuning/jobs", content=content, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_json_beyond_the_limit_is_refused_unread(client: TestClient) -> None:
    error_of(raw(client, b'{"model": "' + b"a" * (9 * MIB) + b'"}'), 413)


def test_a_bomb_of_zeros_is_not_unpacked(client: TestClient) -> None:
    """We unpack nothing that comes in, so a small body stays small."""
    bomb = gzip.compress(b" " * (64 * MIB) + b"{}")
    error_of(raw(client, bomb, **{"Content-Encoding": "gzip"}), 400)


def test_nothing_of_another_origin_is_let_in(client: TestClient) -> None:
    """Without these headers a browser keeps other sites' scripts from reading any answer."""
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (
        client.get("/v1/models", headers=origin),
        client.options("/v1/fine_tuning/jobs", headers=origin),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/v1/models/", "/v1/files/", "/docs/", "/healthz/"])
def test_nobody_is_led_to_where_a_requests_host_says(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"Host": "evil.example"}, follow_redirects=False)
    assert answer.status_code == 404
    assert "evil.example" not in f"{answer.headers} {answer.text}"


def test_every_answer_has_the_headers_that_keep_browsers_from_guessing(app: FastAPI) -> None:
    for path in ("/v1/models", "/nowhere", "/healthz", "/docs"):
        headers = TestClient(app).get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


@pytest.mark.parametrize("name", ['a".jsonl', "a;b=c.jsonl", "naïve.jsonl", "a%0d%0ab.jsonl"])
def test_a_files_name_stays_a_name_in_headers(client: TestClient, name: str) -> None:
    file_id = upload(client, name=name)["id"]
    disposition = client.get(f"/v1/files/{file_id}/content").headers["content-disposition"]
    assert disposition.startswith("attachment")
    assert disposition.isascii()
    assert disposition.count(";") <= 2
    assert "\r" not in disposition
    assert "\n" not in disposition


def test_a_failure_tells_its_number_and_nothing_of_the_inside(
    client: TestClient, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("secret at /srv/pando/storage, key sk-pando-abc")

    monkeypatch.setattr(storage, "names", fails)
    anonymous = TestClient(client.app, raise_server_exceptions=False)
    answer = anonymous.get("/readyz")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]


def test_nothing_sent_forges_a_line_of_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client.get("/v1/files/" + quote("x\n2026-01-01 ERROR pando root logged in"))
    client.get("/v1/models", headers={"x-request-id": "a b; forged"})
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("pando")]
    assert any("/v1/files/" in line for line in lines)
    assert not [line for line in lines if "forged" in line]
