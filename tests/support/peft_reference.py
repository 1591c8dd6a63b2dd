"""The reference: one job trained alone by stock peft and torch.optim.AdamW, batches padded."""

from __future__ import annotations

import peft
import torch
from transformers import AutoModelForCausalLM

from pando_shared.adapters import LoraConfig, PacaConfig
from pando_shared.training import Plan
from pando_worker.engine.adapters import Adapter
from pando_worker.engine.data import ListSequences, batch_at


def peft_model(folder: str, config: LoraConfig, adapter: Adapter) -> peft.PeftModel:
    """A stock peft model that starts at the given adapter's weights."""
    targets = "all-linear" if config.target_modules == ("all-linear",) else config.target_modules
    model = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        peft.LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            use_rslora=config.use_rslora,
            target_modules=targets if isinstance(targets, str) else list(targets),
            task_type="CAUSAL_LM",
        ),
    )
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in adapter.vector.parameters.items():
            module, _, which = name.rpartition(".")
            parameters[f"base_model.model.{module}.{which}.default.weight"].copy_(value)
    return model


def one_hot_model(folder: str, config: PacaConfig, adapter: Adapter) -> peft.PeftModel:
    """A stock peft LoRA whose A are frozen one-hot rows: what PaCA comes to."""
    modules = sorted(adapter.columns)
    model = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        peft.LoraConfig(
            r=config.rank,
            lora_alpha=config.scale * config.rank,
            target_modules=modules,
            task_type="CAUSAL_LM",
        ),
    )
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for module, columns in adapter.columns.items():
            a = parameters[f"base_model.model.{module}.lora_A.default.weight"]
            a.zero_()[torch.arange(config.rank), columns] = 1.0
            a.requires_grad_(False)
            b = parameters[f"base_model.model.{module}.lora_B.default.weight"]
            b.copy_(adapter.vector.parameters[f"{module}.paca_P"])
    return model


def padded(items):
    longest = max(len(tokens) for tokens, _ in items)
    ids = torch.zeros(len(items), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, (tokens, targets) in enumerate(items):
        n = len(tokens)
        ids[row, :n] = torch.from_numpy(tokens)
        mask[row, :n] = 1
        labels[row, :n] = torch.where(
            torch.from_numpy(targets), torch.from_numpy(tokens), torch.tensor(-100)
        )
    return ids, mask, labels


def adamw(trainable, plan: Plan) -> torch.optim.Optimizer:
    config = plan.config
    return torch.optim.AdamW(
        trainable,
        lr=plan.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
    )


def train(model, data: ListSequences, plan: Plan, steps: int, make_optimizer=adamw) -> list[float]:
    """Losses of `steps` optimizer steps of the plain loop."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    config = plan.config
    optimizer = make_optimizer(trainable, plan)
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate_at(step)
        items = [
            data.sequence(int(i)) for i in batch_at(step, len(data), plan.batch_size, config.seed)
        ]
        ids, mask, labels = padded(items)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        if config.max_grad_norm > 0:
            torch.nn.utils.clip_grad_norm_(trainable, config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses
