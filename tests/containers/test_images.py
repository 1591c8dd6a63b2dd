"""What is in the images, and what is not."""

from __future__ import annotations

import json
import os
import re

import pytest
from compose_cluster import run

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

BASE = os.environ.get("PYTHON_IMAGE", "python:3.11-slim")
MEGABYTE = 1_000_000


def size(image: str) -> int:
    return int(run(["docker", "image", "inspect", "--format", "{{.Size}}", image]))


@pytest.mark.parametrize("service", ["api", "scheduler"])
def test_what_plans_and_answers_is_small(images: tuple[str, ...], service: str) -> None:
    assert size(f"pando-{service}") - size(BASE) < 300 * MEGABYTE


@pytest.mark.parametrize("service", ["api", "scheduler"])
def test_what_plans_and_answers_holds_no_torch(images: tuple[str, ...], service: str) -> None:
    listed = run(["docker", "run", "--rm", f"pando-{service}", "pip", "list", "--format", "json"])
    names = {each["name"].lower() for each in json.loads(listed)}
    assert f"pando-{service}" in names
    assert not names & {"torch", "triton", "transformers"}


def test_no_image_knows_a_secret(images: tuple[str, ...]) -> None:
    for image in images:
        (facts,) = json.loads(run(["docker", "image", "inspect", image]))
        told = run(["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image])
        told += "\n".join(facts["Config"]["Env"])
        assert not re.search(r"://[^/\s]*:[^/\s]*@|sk-pando-|(?i:password|secret|token)=", told)


def test_no_image_holds_the_sources_or_what_built_them(images: tuple[str, ...]) -> None:
    for image in images:
        found = run(["docker", "run", "--rm", image, "sh", "-c", "ls -d /src 2>/dev/null || true"])
        assert not found
