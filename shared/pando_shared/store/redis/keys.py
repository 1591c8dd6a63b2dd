"""Every key in Redis, and what lies there. JSON is what `codec.encode` writes.

| key                               | type   | holds                                              |
|-----------------------------------|--------|----------------------------------------------------|
| pando:job:<job>                   | string | the job, JSON                                      |
| pando:job:<job>:events            | list   | events, JSON; an event's seq is its place here     |
| pando:job:<job>:checkpoints       | hash   | checkpoint id -> JSON                              |
| pando:jobs:in:<state>             | set    | ids of the jobs in a state                         |
| pando:jobs:leased                 | set    | ids of the jobs that hold a lease                  |
| pando:jobs:of:<tenant>            | zset   | ids of a tenant's jobs, by created_at              |
| pando:idempotency:[tenant, key]   | string | id of the job that was made; gone after a day      |
| pando:files:<tenant>              | hash   | file id -> JSON                                    |
| pando:models:<tenant>             | hash   | model name -> JSON                                 |
| pando:keys                        | hash   | digest -> JSON                                     |
| pando:workers                     | hash   | worker id -> JSON                                  |
| pando:rounds                      | hash   | round id -> JSON                                   |
| pando:sample:<sample>             | list   | chunks, JSON; gone an hour after the last          |
| pando:samples:waiting:<worker>    | zset   | ids of samples asked for, by the time of asking    |
| pando:wake                        | list   | at most one token; the scheduler blocks on it      |
| pando:written:<token>             | string | proof that a transaction took place, for a minute  |

Scripts read job keys that they find in an index, so all keys must lie on one Redis (no cluster).
"""

import json

from pando_shared.jobs import JobState

JOB_PREFIX = "pando:job:"
LEASED = "pando:jobs:leased"
KEYS = "pando:keys"
WORKERS = "pando:workers"
ROUNDS = "pando:rounds"
WAKE = "pando:wake"


def job(job_id: str) -> str:
    return f"{JOB_PREFIX}{job_id}"


def events(job_id: str) -> str:
    return f"{JOB_PREFIX}{job_id}:events"


def checkpoints(job_id: str) -> str:
    return f"{JOB_PREFIX}{job_id}:checkpoints"


def jobs_in(state: JobState) -> str:
    return f"pando:jobs:in:{state.value}"


def jobs_of(tenant: str) -> str:
    return f"pando:jobs:of:{tenant}"


def idempotency(tenant: str, key: str) -> str:
    """JSON, because either part may hold any separator."""
    return f"pando:idempotency:{json.dumps([tenant, key])}"


def files(tenant: str) -> str:
    return f"pando:files:{tenant}"


def models(tenant: str) -> str:
    return f"pando:models:{tenant}"


def sample(sample_id: str) -> str:
    return f"pando:sample:{sample_id}"


def samples_waiting(worker_id: str) -> str:
    return f"pando:samples:waiting:{worker_id}"


def written(token: str) -> str:
    return f"pando:written:{token}"
