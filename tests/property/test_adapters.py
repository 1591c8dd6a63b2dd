"""Parsing adapters: what is written comes back, what is wrong is named."""

from contextlib import suppress
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import adapter_configs, meft_configs

from pando_shared.adapters import (
    AdapterConfig,
    LoraConfig,
    MeftConfig,
    PacaConfig,
    parse_adapter,
)
from pando_shared.errors import InvalidRequest


@given(adapter_configs)
def test_a_configuration_survives_json(config: AdapterConfig) -> None:
    knobs = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(config).items()}
    assert parse_adapter(knobs) == config


@given(adapter_configs, st.text(min_size=1))
def test_a_knob_that_does_not_exist_is_named(config: AdapterConfig, name: str) -> None:
    if name in asdict(config):
        return
    with pytest.raises(InvalidRequest) as caught:
        parse_adapter({"type": config.type, name: 1})
    assert caught.value.param == f"adapter.{name}"
    assert repr(name) in caught.value.message


@given(
    st.dictionaries(
        st.sampled_from(["type", "rank", "alpha", "dropout", "num_keys", "top_k", "num_experts"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_whatever_is_sent_is_parsed_or_refused(knobs: dict[str, object]) -> None:
    with suppress(InvalidRequest):
        assert isinstance(parse_adapter(knobs), LoraConfig | PacaConfig | MeftConfig)


@given(meft_configs)
def test_experts_divide_the_keys(config: MeftConfig) -> None:
    assert config.num_keys % config.experts == 0
    assert 1 <= config.probes <= config.experts
