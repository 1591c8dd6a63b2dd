"""Saved tiny models, and one thread: sums must not depend on how many cores there are."""

from __future__ import annotations

import pytest
import torch

from tiny_models import save_random_model


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """`model_folder(family)`: the folder of a saved random model, made once a session."""
    made: dict[str, str] = {}

    def make(family: str) -> str:
        if family not in made:
            made[family] = str(tmp_path_factory.mktemp(family))
            save_random_model(family, made[family])
        return made[family]

    return make
