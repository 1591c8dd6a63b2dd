"""What docs/http-api.md and its neighbours name of the API is there, and what is there is named."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

import pando_api
from pando_api import errors
from pando_api.schemas.job_create import JobCreate
from pando_api.schemas.job_object import JobObject
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.errors import PandoError
from pando_shared.training import DEFAULT_LEARNING_RATE, TrainingConfig

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "http-api.md").read_text(encoding="utf-8")
#: Status and code of each row of the table of errors.
ERRORS = [
    (status, code)
    for statuses, codes in re.findall(
        r"^\| (\d{3}(?:, \d{3})*) \| (`\w+`(?: ¹)?|null) \|", PAGE, re.MULTILINE
    )
    for status in statuses.split(", ")
    for code in [codes.strip("` ¹")]
]
#: That are there, and reach no user: a policy file is the operator's, a state that forbids what is
#: asked is told as `illegal_transition`, and a stale epoch is a worker's.
INNER = {"invalid_policy", "conflict", "stale_epoch"}


def test_the_page_has_every_code_of_an_error() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8") for path in Path(pando_api.__path__[0]).rglob("*.py")
    )
    named = set(re.findall(r"\bcode ?= ?\"([a-z_]+)\"", sources))
    raised = {kind.code for root, *_ in errors._STATUS for kind in (root, *below(root))}
    assert {code for _, code in ERRORS} - {"null"} == (named | raised) - INNER


def below(kind: type[PandoError]) -> list[type[PandoError]]:
    return [each for child in kind.__subclasses__() for each in (child, *below(child))]


@pytest.mark.parametrize(("kind", "status"), [(kind, status) for kind, status, _ in errors._STATUS])
def test_a_code_has_the_status_that_the_page_says(kind: type[PandoError], status: int) -> None:
    if kind.code not in INNER:
        assert (str(status), kind.code) in ERRORS


def test_every_route_that_a_page_names_is_there(app: FastAPI) -> None:
    routes = {
        (method.upper(), re.sub(r"\{\w+\}", "ID", path))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    named = {
        (method, re.sub(r"\{\w+\}|\bNAME\b", "ID", path))
        for page in DOCS.glob("*.md")
        for methods, path in re.findall(
            r"`((?:GET|POST|DELETE)(?:`, `(?:GET|POST|DELETE))*) (/v1/[^`? ]+)",
            page.read_text(encoding="utf-8"),
        )
        for method in methods.split("`, `")
    }
    assert len(named) > 15
    assert named - routes == set()


def test_the_page_has_every_knob_and_every_field_of_a_job() -> None:
    schemas: dict[str, Any] = {**JobCreate.model_fields, **JobObject.model_fields}
    of_openai = {
        *("created_at", "error", "estimated_finish", "fine_tuned_model", "finished_at", "id"),
        *("hyperparameters", "integrations", "metadata", "method", "model", "object"),
        *("organization_id", "result_files", "seed", "status", "suffix", "trained_tokens"),
        *("training_file", "validation_file"),
    }
    for name in schemas.keys() - of_openai:
        assert re.search(rf"`{name}`", PAGE), name


def test_a_knobs_default_is_the_default() -> None:
    rows = dict(re.findall(r"^\| (`[a-z_0-9`, ]+`) \| (`[^|]+) \|", PAGE, re.MULTILINE))
    config, told = TrainingConfig(), set()
    for names, defaults in rows.items():
        knobs = [name for name in re.findall(r"`(\w+)`", names) if hasattr(config, name)]
        for knob, default in zip(knobs, re.findall(r"`([^`]+)`", defaults), strict=False):
            told.add(knob)
            if knob != "learning_rate":
                assert getattr(config, knob) == json.loads(default), knob
    computed = {"n_epochs", "batch_size"}
    assert told == {each.name for each in fields(TrainingConfig)} - computed
    rates = dict(re.findall(r"`(\w+)` (\de-\d)", rows["`learning_rate`"]))
    assert {method: float(rate) for method, rate in rates.items()} == DEFAULT_LEARNING_RATE


@pytest.mark.parametrize("kind", [LoraConfig, PacaConfig, MeftConfig])
def test_an_adapters_knobs_have_the_defaults_that_the_page_says(kind: type[Any]) -> None:
    (row,) = re.findall(rf"^\| `{kind().type}` \| (.+) \|$", PAGE, re.MULTILINE)
    told = dict(re.findall(r"`(\w+)` `?([^\s`,]+)", row))
    defaults = asdict(kind())
    del defaults["type"]
    assert {name: json.loads(value) for name, value in told.items()} == {
        name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()
    }
