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
