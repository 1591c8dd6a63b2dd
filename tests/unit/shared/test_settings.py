"""What the environment sets: a worker's memories, and the tools that curves are written to."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pando_shared.settings import Settings


def test_memories_are_the_workers_own_choice_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    assert (settings.memory_bytes, settings.host_memory_bytes, settings.rows_dir) == (None,) * 3
    monkeypatch.setenv("PANDO_MEMORY_BYTES", "1000")
    monkeypatch.setenv("PANDO_HOST_MEMORY_BYTES", "2000")
    monkeypatch.setenv("PANDO_ROWS_DIR", "/disk/rows")
    settings = Settings()
    assert (settings.memory_bytes, settings.host_memory_bytes) == (1000, 2000)
    assert settings.rows_dir == Path("/disk/rows")


def test_less_than_no_memory_is_refused() -> None:
    with pytest.raises(ValidationError, match="host_memory_bytes"):
        Settings(host_memory_bytes=-1)


def test_integrations_are_a_list_of_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDO_INTEGRATIONS", "tensorboard, mlflow")
    monkeypatch.setenv("PANDO_MLFLOW_TRACKING_URI", "")  # as composed environments have it
    settings = Settings()
    assert settings.integrations == ("tensorboard", "mlflow")
    assert settings.mlflow_tracking_uri is None
    monkeypatch.setenv("PANDO_INTEGRATIONS", "")
    assert Settings().integrations == ()
    monkeypatch.setenv("PANDO_INTEGRATIONS", "comet")
    with pytest.raises(ValidationError, match="wandb"):
        Settings()


def test_proxies_are_trusted_by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().trusted_proxies == ()
    monkeypatch.setenv("PANDO_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,fd00::/8")
    assert [str(proxy) for proxy in Settings().trusted_proxies] == [
        *("127.0.0.1/32", "10.0.0.0/8", "fd00::/8")
    ]
    monkeypatch.setenv("PANDO_TRUSTED_PROXIES", "")
    assert Settings().trusted_proxies == ()
    monkeypatch.setenv("PANDO_TRUSTED_PROXIES", "*")
    with pytest.raises(ValidationError, match="trusted_proxies"):
        Settings()
