from __future__ import annotations

import pytest

from pando_cli.errors import UsageError
from pando_cli.job_options import JobOptions


def test_only_what_was_asked_for_is_sent() -> None:
    assert JobOptions(model="tiny").body("file-1", None) == {
        "model": "tiny",
        "training_file": "file-1",
        "adapter": {"type": "lora"},
        "method": {"type": "supervised", "supervised": {"hyperparameters": {}}},
    }


def test_every_knob_lands_in_its_place() -> None:
    options = JobOptions(
        model="tiny",
        adapter="meft",
        num_keys=4096,
        top_k=32,
        balance=0.01,
        layers="0, 4-6",
        epochs=2,
        learning_rate=1e-3,
        seed=0,
        suffix="pirate",
        priority="high",
        metadata=["a=1", "b=x=y"],
    )
    body = options.body("file-1", "file-2")
    assert body["adapter"] == {
        "type": "meft",
        "num_keys": 4096,
        "top_k": 32,
        "balance": 0.01,
        "layers": [0, 4, 5, 6],
    }
    knobs = body["method"]["supervised"]["hyperparameters"]
    assert knobs == {"n_epochs": 2, "learning_rate": 1e-3}
    assert body["metadata"] == {"a": "1", "b": "x=y"}
    assert (body["seed"], body["priority"], body["suffix"]) == (0, "high", "pirate")
    assert body["validation_file"] == "file-2"


def test_integrations_are_as_the_protocol_has_them() -> None:
    options = JobOptions(model="tiny", tensorboard=True, mlflow="pirates", wandb="ships")
    assert options.body("f", None)["integrations"] == [
        {"type": "tensorboard"},
        {"type": "mlflow", "mlflow": {"experiment": "pirates"}},
        {"type": "wandb", "wandb": {"project": "ships"}},
    ]


def test_target_modules_are_a_list() -> None:
    adapter = JobOptions(model="tiny", target_modules="q_proj, v_proj").body("f", None)["adapter"]
    assert adapter["target_modules"] == ["q_proj", "v_proj"]


@pytest.mark.parametrize("layers", ["", "a", "3-", "-3", "1,,2", "1.5"])
def test_layers_must_be_numbers(layers: str) -> None:
    with pytest.raises(UsageError, match="0,4-7"):
        JobOptions(model="tiny", adapter="meft", layers=layers).body("f", None)


@pytest.mark.parametrize("pair", ["a", "=1", ""])
def test_metadata_must_be_pairs(pair: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE"):
        JobOptions(model="tiny", metadata=[pair]).body("f", None)
