"""`resolve` leaves nothing open, and its schedule stays within its bounds."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from strategies import training_configs

from pando_shared.adapters import LoraConfig
from pando_shared.training import Plan, TrainingConfig, resolve


def plan_of(config: TrainingConfig, examples: int) -> Plan:
    return resolve(config, LoraConfig(), examples)


@given(training_configs, st.integers(1, 5000))
def test_everything_asked_for_is_kept_and_the_rest_is_filled(
    config: TrainingConfig, examples: int
) -> None:
    plan = plan_of(config, examples)
    assert 1 <= plan.batch_size <= examples
    if config.batch_size is not None:
        assert plan.batch_size == min(config.batch_size, examples)
    assert plan.steps_per_epoch == math.ceil(examples / plan.batch_size)
    if config.max_steps is None:
        assert plan.total_steps == plan.n_epochs * plan.steps_per_epoch
        assert config.n_epochs in (None, plan.n_epochs)
    else:
        assert plan.total_steps <= config.max_steps
        assert (plan.n_epochs - 1) * plan.steps_per_epoch < plan.total_steps
    assert plan.warmup_steps <= plan.total_steps


@given(training_configs, st.integers(1, 5000))
def test_a_resolved_plan_resolves_to_itself(config: TrainingConfig, examples: int) -> None:
    plan = plan_of(config, examples)
    again = plan_of(plan.config, examples)
    assert again == plan


@given(training_configs, st.integers(1, 500), st.data())
def test_the_rate_rises_then_never_rises(
    config: TrainingConfig, examples: int, data: st.DataObject
) -> None:
    plan = plan_of(config, examples)
    step = data.draw(st.integers(0, plan.total_steps - 1))
    rate, following = plan.learning_rate_at(step), plan.learning_rate_at(step + 1)
    assert 0 < rate <= plan.learning_rate * (1 + 1e-12)
    if step + 1 < plan.warmup_steps:
        assert following > rate
    if step >= plan.warmup_steps:
        assert following <= rate * (1 + 1e-12)


def test_the_rate_meets_the_schedules_formulas() -> None:
    def rates(schedule: Any) -> list[float]:
        config = TrainingConfig(
            n_epochs=1, batch_size=1, learning_rate=1.0, lr_scheduler=schedule, warmup_ratio=0.2
        )
        plan = plan_of(config, 10)
        return [plan.learning_rate_at(step) for step in range(10)]

    assert rates("constant") == [0.5] + [1.0] * 9
    for step, rate in enumerate(rates("linear")[2:]):
        assert math.isclose(rate, 1 - step / 8)
    for step, rate in enumerate(rates("cosine")[2:]):
        assert math.isclose(rate, (1 + math.cos(math.pi * step / 8)) / 2)
