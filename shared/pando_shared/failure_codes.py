"""Why jobs fail: every `error.code` that a failed job can have."""

from __future__ import annotations

#: What its user can mend.
OF_THE_JOB = {
    "invalid_training_file": "a line of a data file breaks a rule",
    "invalid_request": "the job asks for something that cannot be",
    "model_not_found": "the base model is none of those here",
    "not_found": "a data file was deleted before it was prepared",
    "gpu_out_of_memory": "it does not fit into memory even alone",
    "non_finite_loss": "training diverged",
    "non_finite_gradient": "training diverged",
}

#: What whoever runs the service can mend. The alert PandoJobsFail goes by these.
OF_THE_SERVICE = {
    "worker_lost": "its worker was lost too often",
    "out_of_memory": "its worker had too little memory for the adapter",
    "rows_disk_full": "the disk of `PANDO_ROWS_DIR` is full",
    "base_model_unavailable": "the worker could not load the base model",
    "data_missing": "storage has lost the prepared data",
    "checkpoint_mismatch": "storage has the checkpoint of another job",
}

FAILURE_CODES = (*OF_THE_JOB, *OF_THE_SERVICE)
