"""Hypothesis strategies for domain values."""

from __future__ import annotations

from hypothesis import strategies as st

from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.jobs import (
    DatasetSummary,
    Job,
    JobFailure,
    JobSpec,
    JobState,
    Lease,
    Priority,
    Progress,
)
from pando_shared.records import Event
from pando_shared.training import TrainingConfig

finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.text("abc:-_/ é", min_size=1, max_size=8)
targets = st.just(("all-linear",)) | st.lists(
    st.sampled_from(["q_proj", "v_proj", "down_proj"]), min_size=1
).map(tuple)

lora_configs = st.builds(
    LoraConfig,
    rank=st.integers(1, 1024),
    alpha=st.floats(1e-3, 1e3),
    dropout=st.floats(0, 0.99),
    use_rslora=st.booleans(),
    target_modules=targets,
)
paca_configs = st.builds(
    PacaConfig,
    rank=st.integers(1, 1024),
    alpha=st.none() | st.floats(1e-3, 1e3),
    selection=st.sampled_from(["random", "weight-norm"]),
    target_modules=targets,
)
meft_configs = st.builds(
    lambda keys, k, probes, balance, layers: MeftConfig(
        num_keys=keys, top_k=min(k, keys), num_probes=probes, balance=balance, layers=layers
    ),
    st.integers(1, 1 << 14),
    st.integers(1, 1 << 14),
    st.integers(1, 64),
    st.floats(0, 1),
    st.none() | st.lists(st.integers(0, 80), min_size=1, unique=True).map(tuple),
)
adapter_configs = lora_configs | paca_configs | meft_configs

training_configs = st.builds(
    TrainingConfig,
    n_epochs=st.none() | st.integers(1, 20),
    batch_size=st.none() | st.integers(1, 64),
    learning_rate=st.none() | st.floats(1e-6, 1.0),
    learning_rate_multiplier=st.floats(0.1, 10),
    lr_scheduler=st.sampled_from(["constant", "linear", "cosine"]),
    warmup_ratio=st.floats(0, 0.9),
    max_steps=st.none() | st.integers(1, 500),
)

events = st.builds(
    Event,
    created_at=finite,
    message=st.text(max_size=20),
    level=st.sampled_from(["info", "warn", "error"]),
    data=st.dictionaries(names, finite | st.integers(-(2**60), 2**60) | st.text() | st.none()),
)

jobs = st.builds(
    Job,
    id=names,
    spec=st.builds(
        JobSpec,
        tenant=names,
        model=names,
        training_file=names,
        adapter=adapter_configs,
        training=training_configs,
        validation_file=st.none() | names,
        suffix=st.none() | names,
        metadata=st.dictionaries(names, st.text(max_size=9), max_size=2),
        priority=st.sampled_from(Priority),
        group=st.none() | names,
    ),
    created_at=finite,
    state=st.sampled_from(JobState),
    epoch=st.integers(0, 9),
    attempts=st.integers(0, 3),
    traceparent=st.none() | names,
    lease=st.none() | st.builds(Lease, names, names, finite),
    queued_at=st.none() | finite,
    training_data=st.none()
    | st.builds(
        DatasetSummary,
        names,
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(0, 9),
        histogram=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    ),
    training=st.none() | training_configs,
    progress=st.builds(Progress, step=st.integers(0, 9), train_loss=st.none() | finite),
    predicted_peak_bytes=st.none() | st.integers(0, 1 << 50),
    predicted_host_bytes=st.none() | st.integers(0, 1 << 50),
    error=st.none() | st.builds(JobFailure, names, names, st.none() | names),
    result_files=st.lists(names, max_size=2).map(tuple),
)
