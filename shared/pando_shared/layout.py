"""Where everything lies in storage. Paths are relative to the storage root.

files/<id>/content, record.json
uploads/<id>/<part_id>                          parts of files, until the upload ends
keys/<id>.json
webhooks/<id>.json                              endpoints, with their secrets
models/<job_id>[.ckpt-step-N].json              model records
jobs/<id>/job.json                              the job as of its last state change
jobs/<id>/train/, valid/                        token files
jobs/<id>/checkpoints/step-00000120/            exact training state
jobs/<id>/export/, export-step-N/               adapters for users
jobs/<id>/events/<start>-<end>.jsonl            what happened, once it has ended
"""


def file(file_id: str) -> str:
    return f"files/{file_id}"


def file_content(file_id: str) -> str:
    return f"files/{file_id}/content"


def file_record(file_id: str) -> str:
    return f"files/{file_id}/record.json"


#: Folder of all uploads that have parts.
UPLOADS = "uploads"


def upload(upload_id: str) -> str:
    return f"{UPLOADS}/{upload_id}"


def upload_part(upload_id: str, part_id: str) -> str:
    return f"{UPLOADS}/{upload_id}/{part_id}"


def webhook_endpoint(endpoint_id: str) -> str:
    return f"webhooks/{endpoint_id}.json"


def api_key(key_id: str) -> str:
    return f"keys/{key_id}.json"


def model_record(job_id: str, step: int | None = None) -> str:
    return f"models/{job_id}{'' if step is None else f'.ckpt-step-{step}'}.json"


def job(job_id: str) -> str:
    return f"jobs/{job_id}"


def job_record(job_id: str) -> str:
    return f"jobs/{job_id}/job.json"


def events(job_id: str) -> str:
    return f"jobs/{job_id}/events"


def tokens(job_id: str, split: str) -> str:
    """Folder of a split's token file; `split` is "train" or "valid"."""
    return f"jobs/{job_id}/{split}"


def checkpoints(job_id: str) -> str:
    return f"jobs/{job_id}/checkpoints"


def checkpoint(job_id: str, name: str) -> str:
    return f"jobs/{job_id}/checkpoints/{name}"


def checkpoint_name(step: int, epoch: int) -> str:
    """Names sort as their steps do. The epoch is that of the lease it is written under: a worker
    that lost the job writes over nobody's."""
    return f"step-{step:08d}-{epoch:06d}"


def export(job_id: str, step: int | None = None) -> str:
    return f"jobs/{job_id}/export" if step is None else f"jobs/{job_id}/export-step-{step}"
