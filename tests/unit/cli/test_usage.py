"""`pando usage` against a fake service."""

from __future__ import annotations

from typing import Any

from fake_service import FakeService, Pando

ACME: dict[str, Any] = {
    "object": "usage",
    "tenant": "acme",
    "storage": {
        "used": 3 << 20,
        "files": 2 << 20,
        "uploads": 0,
        "adapters": 1 << 20,
        "limit": 1 << 30,
    },
    "jobs": {"validating_files": 0, "queued": 3, "running": 1, "paused": 0, "limit": 10},
    "requests": {"limit_per_minute": 60, "remaining": 59},
    "workers": {"recent_seconds": 95.2, "guaranteed": 1.0, "limit": None},
}
FREE: dict[str, Any] = {
    "object": "usage",
    "tenant": "globex",
    "storage": {"used": 0, "files": 0, "uploads": 0, "adapters": 0, "limit": None},
    "jobs": {"validating_files": 0, "queued": 0, "running": 0, "paused": 0, "limit": None},
    "requests": {"limit_per_minute": None, "remaining": None},
    "workers": {"recent_seconds": None, "guaranteed": 0.0, "limit": None},
}


def rows(text: str) -> dict[str, str]:
    lines = [line.strip().split("  ", 1) for line in text.splitlines() if "  " in line.strip()]
    return {name: value.strip() for name, value in lines}


def test_everything_is_shown_with_its_limit(pando: Pando, service: FakeService) -> None:
    service.on("GET", "/usage", ACME)
    shown = rows(pando("usage").out)
    assert shown["storage"] == "3.0 MiB of 1.0 GiB: files 2.0 MiB, uploads 0 B, adapters 1.0 MiB"
    assert shown["jobs"] == "4 of 10: 1 running, 3 queued"
    assert shown["requests left"] == "59 of 60 a minute"
    assert shown["worker time"] == "1m35s"
    assert pando("usage", "--json").json == ACME


def test_what_is_not_limited_shows_no_limit(pando: Pando, service: FakeService) -> None:
    service.on("GET", "/usage", FREE)
    shown = rows(pando("usage").out)
    assert (shown["jobs"], shown["requests left"], shown["worker time"]) == ("0", "unlimited", "-")


def test_an_admin_sees_all_tenants_in_one_table(pando: Pando, service: FakeService) -> None:
    service.on("GET", "/usage/tenants", {"object": "list", "data": [ACME, FREE]})
    lines = pando("usage", "--all").out.splitlines()
    assert " ".join(lines[1].split()) == ("acme 3.0 MiB of 1.0 GiB 4 of 10 59 of 60 a minute 1m35s")
    assert " ".join(lines[2].split()) == "globex 0 B 0 unlimited -"
    assert len(pando("usage", "--all", "--json").json["data"]) == 2
