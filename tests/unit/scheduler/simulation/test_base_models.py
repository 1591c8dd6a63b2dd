"""Base models against the counts of parameters that their makers publish."""

from __future__ import annotations

import pytest

from pando_scheduler.simulation.base_models import DEFAULT, KNOWN, catalogue_of
from pando_shared.errors import InvalidRequest


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("llama-3.2-1b", 1_235_814_400),
        ("llama-3.2-3b", 3_212_749_824),
        ("mistral-7b", 7_248_023_552),
        ("qwen2.5-7b", 7_615_616_512),
        ("llama-3.1-8b", 8_030_261_248),
        ("llama-3.1-70b", 70_553_706_496),
    ],
)
def test_parameters(name: str, parameters: int) -> None:
    assert KNOWN[name].parameters == parameters
    assert KNOWN[name].weight_bytes == 2 * parameters


def test_a_catalogue_of_names() -> None:
    assert tuple(catalogue_of(DEFAULT)) == DEFAULT
    with pytest.raises(InvalidRequest, match="no base model 'gpt' is known; choose from llama"):
        catalogue_of(["gpt"])
