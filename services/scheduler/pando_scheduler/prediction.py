"""The byte model as `schedule` calls it: by base model name, for one worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pando_scheduler.cluster import Predictor
from pando_shared.adapters import AdapterConfig
from pando_shared.catalogue import BaseModel
from pando_shared.memory import predict_peak_bytes
from pando_shared.workers import Worker


def predictor(catalogue: Mapping[str, BaseModel], dtype: str | None) -> Predictor:
    """Predicts with the catalogue's shapes; `dtype` None is each device's own default.

    Where the worker has the base in memory already, its measured bytes stand in for the predicted.
    """

    def predict(base_model: str, adapters: Sequence[AdapterConfig], worker: Worker) -> int | None:
        base = catalogue.get(base_model)
        if base is None:
            return None
        resident = worker.resident_bytes if worker.base_model == base_model else 0
        weight_bytes = _element_bytes(dtype, worker.device)
        return predict_peak_bytes(base, adapters, worker.token_budget, weight_bytes, resident)

    return predict


def _element_bytes(dtype: str | None, device: str) -> int:
    if dtype is None:
        return 4 if device == "cpu" else 2
    return 4 if dtype == "float32" else 2
