"""Every code with which the services let a job fail is known beforehand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pando_scheduler
import pando_worker
from pando_shared.errors import InvalidRequest, InvalidTrainingFile, NotFound
from pando_shared.failure_codes import FAILURE_CODES, OF_THE_JOB

#: Functions that let a job fail: their code is one of their words.
_FAIL = ("fail", "_fail")
#: A checkpoint that is damaged is passed over, and never its job's end.
_SURVIVED = {"checkpoint_damaged"}
#: Not jobs, but their curves in other tools.
_OTHERS = {"integrations"}


def calls() -> Iterator[ast.Call]:
    for package in (pando_worker, pando_scheduler):
        for folder in package.__path__:
            for file in Path(folder).rglob("*.py"):
                if file.parent.name not in _OTHERS:
                    nodes = ast.walk(ast.parse(file.read_text()))
                    yield from (node for node in nodes if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def words(call: ast.Call) -> Iterator[str]:
    arguments = call.args if name_of(call) in _FAIL else []
    keywords = [word.value for word in call.keywords if word.arg == "code"]
    for value in (*arguments, *keywords):
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


def test_no_service_uses_another() -> None:
    used = {word for call in calls() for word in words(call)} - _SURVIVED
    assert "non_finite_gradient" in used  # so that it is known to look
    assert used <= set(FAILURE_CODES)


def test_those_of_preparing_are_known() -> None:
    for error in (InvalidRequest, InvalidTrainingFile, NotFound):
        assert error.code in OF_THE_JOB
