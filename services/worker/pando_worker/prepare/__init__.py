"""From an uploaded JSONL file to a token file: validate, render, tokenise, mask. No torch."""

from pando_worker.prepare.metrics import PrepareMetrics
from pando_worker.prepare.pipeline import PrepareContext, prepare_job

__all__ = ["PrepareContext", "PrepareMetrics", "prepare_job"]
