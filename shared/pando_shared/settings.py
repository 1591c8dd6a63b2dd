"""Configuration from `PANDO_*` environment variables. Built by `main()`, never at import."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pando_shared.base_format import Dtype
from pando_shared.integrations import IntegrationType

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class Settings(BaseSettings):
    """One set for all processes; each reads the part it needs.

    `models` maps the names users write to Hugging Face folders or hub ids, given as
    `PANDO_MODELS="tiny=/models/tiny,llama=meta-llama/Llama-3.1-8B"`.
    """

    model_config = SettingsConfigDict(env_prefix="PANDO_", extra="ignore")

    redis_url: str = "redis://localhost:6379/0"
    storage_url: str = Field(default="file://./.pando/storage", description="any fsspec URL")
    models: Annotated[dict[str, str], NoDecode] = {}

    host: str = "127.0.0.1"
    port: PositiveInt = 8000
    max_upload_bytes: PositiveInt = 512 * MIB
    sample_timeout_seconds: PositiveFloat = 120.0
    stall_seconds: PositiveFloat = Field(
        default=60.0,
        description="a request is ended whose head is not here after so long, or whose body brings "
        "less than 32 KiB in it; so is a connection whose client takes nothing of its answer",
    )
    streams_per_tenant: PositiveInt = Field(
        default=1000,
        description="streams, completions, uploads and downloads that a tenant may have open at "
        "once on an API process; never more than half of the connections that it may hold",
    )

    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="proxies in front of the API, with commas between, as 127.0.0.1,10.0.0.0/8: "
        "what their X-Forwarded-For says is believed; default: none",
    )
    failed_logins_per_minute: NonNegativeInt = Field(
        default=20,
        description="wrong API keys that an address may send in a minute before further wrong ones "
        "are answered with 429; 0: any number",
    )

    round_seconds: PositiveFloat = 20.0
    lease_seconds: PositiveFloat = 15.0
    heartbeat_seconds: PositiveFloat = 2.0
    max_attempts: PositiveInt = 3
    checkpoint_seconds: PositiveFloat = 60.0
    memory_headroom: PositiveFloat = 0.10

    policy_file: Path | None = Field(
        default=None,
        description="TOML with priority classes, tenants' quotas and weights (docs/sharing.md); "
        "read again when it changes; default: all tenants weigh the same",
    )

    worker_id: str | None = None
    device: str | None = Field(
        default=None, description="cpu or cuda:N; default: cuda:0 if there is one"
    )
    dtype: Dtype | None = Field(
        default=None,
        description="of the base; nf4 and int8 pack its linears; default: bfloat16 on a GPU, "
        "float32 on a CPU",
    )
    token_budget: PositiveInt | None = Field(
        default=None, description="tokens a microbatch, at most"
    )
    memory_bytes: NonNegativeInt | None = Field(
        default=None, description="budget of the device's memory; default: 90 % of it all"
    )
    host_memory_bytes: NonNegativeInt | None = Field(
        default=None,
        description="what a worker on a GPU may use of its host's memory; default: 80 % of it all, "
        "shared equally by the GPUs that it sees",
    )
    rows_dir: Path | None = Field(
        default=None,
        description="folder on a disk that MEFT's keys and values, and their moments, are mapped "
        "from while they train; default: they are in the host's memory",
    )
    cache_dir: Path = Path(".pando/cache")
    metrics_port: int | None = Field(
        default=None, description="where scheduler and workers serve Prometheus, on `host`"
    )

    webhook_allow: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="private networks that webhooks may reach, with commas between, as "
        "10.0.0.0/8; also by http; default: none, and https only",
    )

    integrations: Annotated[tuple[IntegrationType, ...], NoDecode] = Field(
        default=(),
        description="tools that jobs may ask their curves to be written to, with commas between, "
        "as tensorboard,mlflow,wandb (docs/integrations.md); default: none",
    )
    mlflow_tracking_uri: str | None = Field(
        default=None, description="MLflow's tracking server, for the workers that prepare data"
    )

    log_format: Literal["text", "json"] = Field(
        default="text", description="text for a terminal, json for what collects logs"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="least level that is logged; DEBUG is of Pando's own lines only"
    )

    otlp_endpoint: str | None = Field(
        default=None,
        description="collector that traces are sent to by OTLP over HTTP, as http://collector:4318 "
        "(docs/operating.md); default: there are no traces",
    )

    @field_validator("models", mode="before")
    @classmethod
    def _parse_models(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        for name, equals, path in pairs:
            if not (name.strip() and equals and path.strip()):
                raise ValueError(f"PANDO_MODELS wants NAME=PATH pairs, got {value!r}")
        return {name.strip(): path.strip() for name, _, path in pairs}

    @field_validator("webhook_allow", "trusted_proxies", "integrations", mode="before")
    @classmethod
    def _parse_list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(item.strip() for item in value.split(",") if item.strip())

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("otlp_endpoint")
    @classmethod
    def _reachable_by_http(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/\s]+(/\S*)?", value):
            raise ValueError(f"it wants a URL such as http://collector:4318, got {value!r}")
        return value

    @field_validator("policy_file", "mlflow_tracking_uri", "otlp_endpoint", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        """An empty variable is none: composed environments have no way to leave one out."""
        return None if value == "" else value
