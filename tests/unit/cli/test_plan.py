from __future__ import annotations

from pathlib import Path

import pynvml
import pytest

from pando_cli.errors import UsageError
from pando_cli.home import Home
from pando_cli.stack.plan import StackPlan, parse_models, service_specs
from pando_cli.stack.redis_server import RedisAddress
from pando_cli.stack.service_spec import Tier
from pando_shared.devices import devices
from pando_shared.settings import Settings


def plan(home: Path, **changes: object) -> StackPlan:
    fields = {"host": "127.0.0.1", "port": 8000, "models": {"a": "/m/a"}, "devices": ("cpu",)}
    return StackPlan(home=Home.locate(home), **{**fields, **changes})  # type: ignore[arg-type]


def test_services_read_what_is_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"a": "/m/a", "llama": "meta-llama/Llama-3.1-8B"}
    address = RedisAddress("127.0.0.1", 6380, "secret")
    for name, value in plan(tmp_path, models=models, port=8123).environment(address).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.redis_url == "redis://:secret@127.0.0.1:6380/0"
    assert settings.storage_url == f"file://{tmp_path}/storage"
    assert settings.models == models
    assert (settings.host, settings.port) == ("127.0.0.1", 8123)
    assert settings.cache_dir == tmp_path / "cache"


def test_a_form_of_the_base_is_passed_if_one_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = RedisAddress("127.0.0.1", 6380, "secret")
    assert "PANDO_DTYPE" not in plan(tmp_path).environment(address)
    for name, value in plan(tmp_path, dtype="nf4").environment(address).items():
        monkeypatch.setenv(name, value)
    assert Settings().dtype == "nf4"


def test_a_worker_for_every_gpu(tmp_path: Path) -> None:
    specs = service_specs(plan(tmp_path, devices=("cuda:0", "cuda:1")), {})
    workers = [s for s in specs if s.name.startswith("worker")]
    assert [s.environment["PANDO_DEVICE"] for s in workers] == ["cuda:0", "cuda:1"]
    assert len({s.environment["PANDO_WORKER_ID"] for s in workers}) == 2
    assert all(s.tier is Tier.WORKER for s in workers)


def test_whoever_measures_has_a_port_of_its_own(tmp_path: Path) -> None:
    specs = service_specs(plan(tmp_path, devices=("cuda:0", "cuda:1")), {})
    urls = {spec.name: spec.metrics_url for spec in specs if spec.metrics_url}
    assert urls.keys() == {"api", "scheduler", "prepare", "worker-cuda0", "worker-cuda1"}
    assert urls["api"] == "http://127.0.0.1:8000/metrics"
    ports = {
        s.name: s.environment["PANDO_METRICS_PORT"]
        for s in specs
        if s.name in urls.keys() - {"api"}
    }
    assert len(set(ports.values())) == 4
    assert all(urls[name] == f"http://127.0.0.1:{port}/metrics" for name, port in ports.items())


def test_the_script_is_that_of_our_own_environment(tmp_path: Path) -> None:
    names = {Path(spec.command[0]).name for spec in service_specs(plan(tmp_path), {})}
    assert names == {"pando-api", "pando-scheduler", "pando-worker"}
    assert all(Path(spec.command[0]).is_absolute() for spec in service_specs(plan(tmp_path), {}))


def test_local_commands_use_the_loopback(tmp_path: Path) -> None:
    assert plan(tmp_path, host="0.0.0.0").url == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [("0,1", ("cuda:0", "cuda:1")), ("5", ("cuda:0",)), ("", ("cpu",)), ("-1", ("cpu",))],
)
def test_hidden_gpus_stay_hidden(
    listed: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert devices("auto") == expected
    assert devices("cpu") == ("cpu",)


def test_gpus_that_nvml_cannot_find_are_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def init() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(pynvml, "nvmlInit", init)
    monkeypatch.setattr("pando_shared.devices._DRIVER", tmp_path / "nvidiactl")
    assert devices("auto") == ("cpu",)
    assert not caplog.records
    (tmp_path / "nvidiactl").touch()
    assert devices("auto") == ("cpu",)
    assert "this machine has an NVIDIA driver, and no GPU is used" in caplog.text
    assert "Library Not Found" in caplog.text


def test_models_are_folders_or_hub_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    found = parse_models(["a=base", f"b={tmp_path}/base", "llama=meta-llama/Llama-3.1-8B"])
    folder = str(tmp_path / "base")
    assert found == {"a": folder, "b": folder, "llama": "meta-llama/Llama-3.1-8B"}


@pytest.mark.parametrize("pair", ["base", "=base", "a=", "a=x,b=y", "a=./missing", "a=/missing"])
def test_a_wrong_model_is_refused(
    pair: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        parse_models([pair])
    assert caught.value.param == "model"
