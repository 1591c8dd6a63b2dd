from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from pando_cli import source_checkout
from pando_cli.doctor.finding import Finding, Status
from pando_cli.doctor.models import model, models

HUB_ID = "acme/llama-of-nobody"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny base."""
    tiny = source_checkout.path("models", "tiny-base")
    assert tiny is not None
    return Path(shutil.copytree(tiny, tmp_path / "tiny"))


def check(folder: Path) -> Finding:
    return model("tiny", str(folder))


def test_whole(folder: Path) -> None:
    found = check(folder)
    assert found.status is Status.OK
    assert "safetensors" in found.found


def test_pickles_beside_safetensors_do_no_harm(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"")
    assert check(folder).status is Status.OK


def test_pickles_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    found = check(folder)
    assert found.status is Status.FAIL
    assert "pytorch_model.bin" in found.found
    assert "save_pretrained" in found.mend


def test_cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    found = check(folder)
    assert found.status is Status.FAIL
    assert "cut short" in found.found


def test_without_a_part_that_its_index_names(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = check(folder)
    assert found.status is Status.FAIL
    assert "lacks model-00002.safetensors" in found.found


def test_without_its_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "config.json" in check(folder).found
    assert check(folder).status is Status.FAIL


def test_no_folder(tmp_path: Path) -> None:
    assert check(tmp_path / "none").status is Status.FAIL


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize(("offline", "status"), [(False, Status.WARN), (True, Status.FAIL)])
def test_of_the_hub_and_not_fetched_yet(
    cache: Path, monkeypatch: pytest.MonkeyPatch, offline: bool, status: Status
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    found = model("llama", HUB_ID)
    assert found.status is status
    assert f"hf download {HUB_ID}" in found.mend


def test_of_the_hub_and_in_the_cache(cache: Path, folder: Path) -> None:
    repository = cache / f"models--{HUB_ID.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    shutil.copytree(folder, repository / "snapshots" / "c0ffee")
    found = model("llama", HUB_ID)
    assert found.status is Status.OK
    assert "c0ffee" in found.found


def test_no_id_of_the_hub(cache: Path) -> None:
    assert model("llama", "acme/--llama--").status is Status.FAIL


def test_one_finding_a_model(folder: Path) -> None:
    found = models({"tiny": str(folder), "none": "/no/such/folder"})
    assert [(f.name, f.status) for f in found] == [
        ("base model tiny", Status.OK),
        ("base model none", Status.FAIL),
    ]
    assert [finding.status for finding in models({})] == [Status.SKIPPED]
