"""Every error Pando raises on purpose.

PandoError
├── InvalidRequest            the caller asked for something that cannot be
│   ├── InvalidTrainingFile   a data file breaks a rule; names the line
│   ├── InvalidPolicy         a policy file breaks rules; names all of them
│   └── JobTooLarge           no worker could ever hold the job
├── NotFound                  no such object, or not this tenant's
├── Unauthorized              no key, or a wrong one
├── InsufficientScope         a good key that may not do this
├── Conflict                  the object's state does not allow the change
│   ├── IllegalTransition
│   └── StaleEpoch            a writer that lost its lease; its write is refused
├── JobQuotaExceeded          the tenant has as many jobs as it may have
├── Unavailable               try again later
├── NoDevice                  this machine lacks what it was told to train on
└── TrainingFailed            one job's training cannot go on; neighbours can
"""

from collections.abc import Sequence


class PandoError(Exception):
    """Root of the tree. `code` is stable for programs, `param` names the field at fault."""

    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code


class InvalidRequest(PandoError):
    code = "invalid_request"


class InvalidTrainingFile(InvalidRequest):
    code = "invalid_training_file"


class InvalidPolicy(InvalidRequest):
    """`problems` has all that is wrong with the file at `path`, a sentence each."""

    code = "invalid_policy"

    def __init__(self, path: str, problems: Sequence[str]):
        if len(problems) == 1:
            text = f"{path}: {problems[0]}"
        else:
            text = f"{path} has {len(problems)} problems:"
            text += "".join(f"\n  {problem}" for problem in problems)
        super().__init__(text)
        self.problems = tuple(problems)


class JobTooLarge(InvalidRequest):
    code = "job_too_large"


class NotFound(PandoError):
    code = "not_found"


class Unauthorized(PandoError):
    code = "invalid_api_key"


class InsufficientScope(PandoError):
    code = "insufficient_scope"


class Conflict(PandoError):
    code = "conflict"


class IllegalTransition(Conflict):
    code = "illegal_transition"


class StaleEpoch(Conflict):
    code = "stale_epoch"


class JobQuotaExceeded(PandoError):
    """`live` jobs of a tenant have not ended, of `most`; `wanted` more were asked for."""

    code = "job_quota_exceeded"

    def __init__(self, tenant: str, live: int, most: int, wanted: int):
        asked = "" if wanted == 1 else f", {wanted} more were asked for"
        super().__init__(
            f"tenant {tenant} has {live} jobs that have not ended and may have {most}{asked}; "
            "wait until one ends or cancel one, or ask the operator for a higher max_jobs"
        )


class Unavailable(PandoError):
    code = "unavailable"


class NoDevice(PandoError):
    code = "no_device"


class TrainingFailed(PandoError):
    """`code` is the reason a user sees: non_finite_loss, gpu_out_of_memory, worker_lost, ..."""

    code = "training_failed"
