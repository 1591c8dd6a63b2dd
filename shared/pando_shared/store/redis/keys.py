"""Every key in Redis, and what lies there. JSON is what `codec.encode` writes.

| key                               | type   | holds                                              |
|-----------------------------------|--------|----------------------------------------------------|
| pando:job:<job>                   | string | the job, JSON                                      |
| pando:job:<job>:events            | list   | events, JSON; an event's seq is its place here,    |
|                                   |        | plus the number below                              |
| pando:jobs:events_stored          | hash   | job id -> how many of its first events are in      |
|                                   |        | storage alone                                      |
| pando:jobs:ended_with_events      | set    | ids of the ended jobs whose events are not yet     |
| pando:job:<job>:checkpoints       | hash   | checkpoint id -> JSON                              |
| pando:jobs:in:<state>             | set    | ids of the jobs in a state                         |
| pando:jobs:leased                 | set    | ids of the jobs that hold a lease                  |
| pando:jobs:seq                    | string | the number of the last write of a job              |
| pando:jobs:changed                | zset   | ids of the jobs written last, by the write's seq   |
| pando:jobs:feed                   | hash   | forgotten: the highest seq no longer in `changed`; |
|                                   |        | run: the run_id of the Redis that counts           |
| pando:jobs:unrecorded             | hash   | job id -> the state and epoch storage is to have   |
| pando:jobs:of:<tenant>            | zset   | ids of a tenant's jobs, by created_at              |
| pando:jobs:group:[tenant, group]  | zset   | ids of the jobs of a tenant's group, by created_at |
| pando:idempotency:[tenant, key]   | string | id of the job that was made; gone after a day      |
| pando:idempotency:<kind>:[ , ]    | string | likewise of the file, or the upload                |
| pando:files:<tenant>              | hash   | file id -> JSON                                    |
| pando:upload:<upload>             | string | the upload, JSON; gone a day after its last change |
| pando:models:<tenant>             | hash   | model name -> JSON                                 |
| pando:keys                        | hash   | digest -> JSON                                     |
| pando:requests:<tenant>           | hash   | tokens of its bucket of requests, and as of when   |
| pando:failed_logins:<slot>         | hash   | likewise of wrong keys, for addresses of a slot    |
| pando:stored:things:<tenant>      | hash   | "<kind> <id>" of what it keeps in storage -> bytes |
| pando:stored:until:<tenant>       | zset   | those that count for a while only, by until when   |
| pando:stored:sums:<tenant>        | hash   | kind -> the sum of its things' bytes               |
| pando:webhooks:<tenant>           | hash   | endpoint id -> JSON                                |
| pando:deliveries                  | hash   | delivery id -> JSON, until it has arrived          |
| pando:deliveries:due              | zset   | their ids, by when they are to be tried            |
| pando:workers                     | hash   | worker id -> JSON                                  |
| pando:workers:draining            | hash   | worker id -> since when it is emptied              |
| pando:rounds                      | hash   | round id -> JSON                                   |
| pando:rounds:of:<worker>          | set    | ids of a worker's rounds                           |
| pando:reports                     | list   | reports of rounds, JSON, oldest first; at most     |
|                                   |        | 10,000                                             |
| pando:learnt                      | hash   | a predictor's key -> its JSON                      |
| pando:usage                       | hash   | tenant -> JSON                                     |
| pando:forecasts                   | hash   | job id -> JSON                                     |
| pando:leader                      | string | the scheduler that leads; gone when its time is up |
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
UNRECORDED = "pando:jobs:unrecorded"
EVENTS_STORED = "pando:jobs:events_stored"
ENDED_WITH_EVENTS = "pando:jobs:ended_with_events"
CHANGE_NUMBER = "pando:jobs:seq"
CHANGED = "pando:jobs:changed"
CHANGE_FEED = "pando:jobs:feed"
KEYS = "pando:keys"
DELIVERIES = "pando:deliveries"
DELIVERIES_DUE = "pando:deliveries:due"
WORKERS = "pando:workers"
DRAINING = "pando:workers:draining"
ROUNDS = "pando:rounds"
REPORTS = "pando:reports"
LEARNT = "pando:learnt"
USAGE = "pando:usage"
FORECASTS = "pando:forecasts"
LEADER = "pando:leader"
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


def jobs_of_group(tenant: str, group: str) -> str:
    """JSON, because either part may hold any separator."""
    return f"pando:jobs:group:{json.dumps([tenant, group])}"


def idempotency(tenant: str, key: str) -> str:
    """JSON, because either part may hold any separator."""
    return f"pando:idempotency:{json.dumps([tenant, key])}"


def file_idempotency(tenant: str, key: str) -> str:
    return f"pando:idempotency:files:{json.dumps([tenant, key])}"


def upload_idempotency(tenant: str, key: str) -> str:
    return f"pando:idempotency:uploads:{json.dumps([tenant, key])}"


def files(tenant: str) -> str:
    return f"pando:files:{tenant}"


def upload(upload_id: str) -> str:
    return f"pando:upload:{upload_id}"


def models(tenant: str) -> str:
    return f"pando:models:{tenant}"


def requests(tenant: str) -> str:
    return f"pando:requests:{tenant}"


def failed_logins(slot: int) -> str:
    return f"pando:failed_logins:{slot}"


def stored_bytes(tenant: str) -> list[str]:
    return [f"pando:stored:{what}:{tenant}" for what in ("things", "until", "sums")]


def webhooks(tenant: str) -> str:
    return f"pando:webhooks:{tenant}"


def sample(sample_id: str) -> str:
    return f"pando:sample:{sample_id}"


def samples_waiting(worker_id: str) -> str:
    return f"pando:samples:waiting:{worker_id}"


def written(token: str) -> str:
    return f"pando:written:{token}"


def rounds_of(worker_id: str) -> str:
    return f"{ROUNDS}:of:{worker_id}"
