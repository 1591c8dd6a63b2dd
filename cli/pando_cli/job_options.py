"""The knobs of a fine-tuning job as command-line options, and the request body they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from pando_cli.errors import UsageError

_DATA = "Data"
_ADAPTER = "Adapter"
_TRAINING = "Training"
_QUEUE = "Queue"
_CURVES = "Curves"


def _option(help_text: str, *names: str, panel: str = _TRAINING) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=panel, show_default=False)


@dataclass(frozen=True)
class JobOptions:
    """Everything left out is chosen by the service from the method and the data."""

    model: Annotated[str, _option("Base model, as `pando models` lists it.", panel=_DATA)]
    validation: Annotated[
        str | None, _option("A file (or file id) to measure the loss on.", panel=_DATA)
    ] = None
    adapter: Annotated[
        Literal["lora", "paca", "meft"],
        typer.Option(help="What to train.", rich_help_panel=_ADAPTER),
    ] = "lora"
    rank: Annotated[int | None, _option("lora, paca: rank.", panel=_ADAPTER)] = None
    alpha: Annotated[float | None, _option("lora, paca: scale times rank.", panel=_ADAPTER)] = None
    dropout: Annotated[float | None, _option("lora: dropout.", panel=_ADAPTER)] = None
    rslora: Annotated[
        bool, typer.Option("--rslora", help="lora: scale by 1/√rank.", rich_help_panel=_ADAPTER)
    ] = False
    target_modules: Annotated[
        str | None,
        _option("lora, paca: linears by name, q_proj,v_proj.  Default: all.", panel=_ADAPTER),
    ] = None
    selection: Annotated[
        Literal["random", "weight-norm"] | None,
        _option("paca: how columns are chosen.", panel=_ADAPTER),
    ] = None
    num_keys: Annotated[int | None, _option("meft: keys a layer.", panel=_ADAPTER)] = None
    top_k: Annotated[int | None, _option("meft: keys a token uses.", panel=_ADAPTER)] = None
    num_experts: Annotated[int | None, _option("meft: groups of keys.", panel=_ADAPTER)] = None
    num_probes: Annotated[
        int | None, _option("meft: groups a token looks into.", panel=_ADAPTER)
    ] = None
    balance: Annotated[
        float | None, _option("meft: weight of even use of the groups.", panel=_ADAPTER)
    ] = None
    layers: Annotated[
        str | None, _option("meft: blocks that get keys, 0,4-7.  Default: all.", panel=_ADAPTER)
    ] = None
    epochs: Annotated[int | None, _option("Passes over the data.")] = None
    batch_size: Annotated[int | None, _option("Sequences per optimizer step.")] = None
    learning_rate: Annotated[float | None, _option("Peak learning rate.")] = None
    lr_scheduler: Annotated[
        Literal["constant", "linear", "cosine"] | None, _option("How the rate decays.")
    ] = None
    warmup_ratio: Annotated[float | None, _option("Share of steps that warm up.")] = None
    weight_decay: Annotated[float | None, _option("AdamW's weight decay.")] = None
    max_grad_norm: Annotated[float | None, _option("Clip gradients to this norm; 0: off.")] = None
    max_seq_length: Annotated[int | None, _option("Tokens of a sequence, at most.")] = None
    overlong: Annotated[
        Literal["truncate", "refuse"] | None, _option("What to do with longer ones.")
    ] = None
    early_stopping_patience: Annotated[
        int | None, _option("Stop after this many validations without improvement.")
    ] = None
    max_steps: Annotated[int | None, _option("Optimizer steps, at most.")] = None
    seed: Annotated[int | None, _option("Seed of initialisation, order, dropout.")] = None
    suffix: Annotated[
        str | None, _option("A name; it becomes part of the model's.", panel=_QUEUE)
    ] = None
    priority: Annotated[
        Literal["low", "normal", "high"] | None, _option("Class of service.", panel=_QUEUE)
    ] = None
    group: Annotated[str | None, _option("Label of a sweep or project.", panel=_QUEUE)] = None
    metadata: Annotated[
        list[str] | None, _option("KEY=VALUE, repeatable.", "--metadata", panel=_QUEUE)
    ] = None
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard", help="Make an event file, as one more result.", rich_help_panel=_CURVES
        ),
    ] = False
    mlflow: Annotated[
        str | None, _option("Write a run into this experiment of MLflow.", panel=_CURVES)
    ] = None
    wandb: Annotated[
        str | None, _option("Write a run into this project of W&B.", panel=_CURVES)
    ] = None

    def body(self, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """The JSON of `POST /v1/fine_tuning/jobs`. Only what was asked for is in it."""
        body = {
            "model": self.model,
            "training_file": training_file,
            "validation_file": validation_file,
            "suffix": self.suffix,
            "seed": self.seed,
            "priority": self.priority,
            "group": self.group,
            "metadata": self._metadata(),
            "integrations": self._integrations() or None,
            "adapter": self._adapter(),
            "method": {
                "type": "supervised",
                "supervised": {"hyperparameters": self._hyperparameters()},
            },
        }
        return _given(body)

    def _adapter(self) -> dict[str, Any]:
        targets = self.target_modules
        return _given(
            {
                "type": self.adapter,
                "rank": self.rank,
                "alpha": self.alpha,
                "dropout": self.dropout,
                "use_rslora": self.rslora or None,
                "target_modules": [name.strip() for name in targets.split(",")]
                if targets
                else None,
                "selection": self.selection,
                "num_keys": self.num_keys,
                "top_k": self.top_k,
                "num_experts": self.num_experts,
                "num_probes": self.num_probes,
                "balance": self.balance,
                "layers": None if self.layers is None else _numbers(self.layers),
            }
        )

    def _hyperparameters(self) -> dict[str, Any]:
        names = (
            "batch_size",
            "learning_rate",
            "lr_scheduler",
            "warmup_ratio",
            "weight_decay",
            "max_grad_norm",
            "max_seq_length",
            "overlong",
            "early_stopping_patience",
            "max_steps",
        )
        values = {name: getattr(self, name) for name in names}
        return _given({"n_epochs": self.epochs, **values})

    def _integrations(self) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []
        if self.tensorboard:
            asked.append({"type": "tensorboard"})
        if self.mlflow is not None:
            asked.append({"type": "mlflow", "mlflow": {"experiment": self.mlflow}})
        if self.wandb is not None:
            asked.append({"type": "wandb", "wandb": {"project": self.wandb}})
        return asked

    def _metadata(self) -> dict[str, str] | None:
        if not self.metadata:
            return None
        pairs = [item.partition("=") for item in self.metadata]
        for item, (key, equals, _) in zip(self.metadata, pairs, strict=True):
            if not (key and equals):
                raise UsageError(f"--metadata wants KEY=VALUE, got {item!r}", param="metadata")
        return {key: value for key, _, value in pairs}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _numbers(text: str) -> list[int]:
    """ "0,4-7" -> [0, 4, 5, 6, 7]. Raises UsageError."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(
                f"--layers takes numbers and ranges, 0,4-7; got {text!r}", param="layers"
            )
        found += range(int(first), int(last if dash else first) + 1)
    return found
