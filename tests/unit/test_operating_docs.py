"""What operators are shown of logs is right: the page's example, the compose file."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import yaml

from pando_api import middleware
from pando_shared.log_context import log_context
from pando_shared.logs import make_handler
from pando_shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("api", "scheduler", "worker", "prepare")


def test_the_example_is_a_line_as_the_api_writes_it() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    found = re.search(r"```json\n(.+)\n```", page)
    assert found
    example = json.loads(found[1])
    logger = logging.getLogger(middleware.__name__)
    ids = {name: example[name] for name in ("request_id", "tenant", "job_id")}
    fields = {name: example[name] for name in ("method", "path", "status", "milliseconds")}
    record = logger.makeRecord(
        example["logger"],
        logging.INFO,
        "",
        1,
        example["message"],
        (),
        None,
        extra={"fields": fields},
    )
    with log_context(**ids):
        line = make_handler(Settings(log_format="json"), "api").format(record)
    written = json.loads(line)
    assert list(written) == list(example)
    assert {**written, "time": example["time"]} == example
    assert logger.name == example["logger"]


def test_compose_gives_every_service_json_and_takes_another_format() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name in SERVICES:
        environment = services[name]["environment"]
        assert environment["PANDO_LOG_FORMAT"] == "${PANDO_LOG_FORMAT:-json}"
        level = re.fullmatch(r"\$\{PANDO_LOG_LEVEL:-(\w+)\}", environment["PANDO_LOG_LEVEL"])
        assert level
        assert level[1] == Settings.model_fields["log_level"].default


def test_compose_hands_on_what_the_page_says_of_traces() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    names = re.findall(r"^\| `((?:PANDO_OTLP|OTEL)_\w+)`", page, re.MULTILINE)
    assert len(names) >= 4
    for file in ("docker-compose.yml", "deploy/docker-compose.worker.yml"):
        services = yaml.safe_load((ROOT / file).read_text())["services"]
        ours = [service for service in services.values() if "PANDO_REDIS_URL" in str(service)]
        assert ours
        for service in ours:
            assert set(names) <= service["environment"].keys()


def test_the_page_names_every_span_and_no_other() -> None:
    """Those of the API's requests are named by their routes."""
    page = (ROOT / "docs" / "operating.md").read_text()
    made = re.compile(r'span\((?:[\w.]+, )*\s*"([a-z ]+)"|^    \w+: "([a-z ]+)",$', re.MULTILINE)
    files = [
        path
        for service in ("api", "scheduler", "worker")
        for path in (ROOT / "services" / service).rglob("*.py")
        if "pando_shared.tracing" in path.read_text() or "job_spans" in path.read_text()
    ]
    names = {name for path in files for found in made.findall(path.read_text()) for name in found}
    assert set(re.findall(r"^\| `([a-z]+ [a-z ]+)` \|", page, re.MULTILINE)) == names - {""}
