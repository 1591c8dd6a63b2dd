from __future__ import annotations

from pathlib import Path
from typing import Any

from fake_service import FakeService, job

from pando_cli.api import Api


def page(ids: range, *, more: bool) -> dict[str, Any]:
    return {"data": [job(f"ftjob-{i}") for i in ids], "has_more": more}


def test_pages_are_joined(api: Api, service: FakeService) -> None:
    service.on(
        "GET", "/fine_tuning/jobs", page(range(100), more=True), page(range(100, 130), more=False)
    )
    found = api.jobs(500)
    assert [entry["id"] for entry in found] == [f"ftjob-{i}" for i in range(130)]
    assert service.requests[1].url.params["after"] == "ftjob-99"


def test_no_more_than_asked_for(api: Api, service: FakeService) -> None:
    service.on("GET", "/fine_tuning/jobs", page(range(3), more=True))
    assert len(api.jobs(3)) == 3
    assert len(service.requests) == 1
    assert service.requests[0].url.params["limit"] == "3"


def test_an_empty_page_ends_it(api: Api, service: FakeService) -> None:
    """Whatever `has_more` says; a loop without end is worse than a page too few."""
    service.on("GET", "/fine_tuning/jobs", {"data": [], "has_more": True})
    assert api.jobs(10) == []


def test_a_models_name_stays_one_path_segment(api: Api, service: FakeService) -> None:
    service.on("GET", "/models/ft%3Aorg%2Fbase%3Aacme%3A%3A1f/content", {})
    list(api.adapter("ft:org/base:acme::1f"))
    assert len(service.requests) == 1


def test_a_file_is_uploaded_under_its_name(api: Api, service: FakeService, tmp_path: Path) -> None:
    service.on("POST", "/files", {"id": "file-1"})
    path = tmp_path / "pirate.jsonl"
    path.write_bytes(b'{"text": "arr"}\n')
    assert api.upload(path)["id"] == "file-1"
    content = service.requests[0].content
    assert b'filename="pirate.jsonl"' in content
    assert b'{"text": "arr"}' in content
    assert b"fine-tune" in content
