"""How many connections an API process may hold: by the files that the system lets it open."""

from __future__ import annotations

import resource

#: Storage, Redis, threads and libraries need files too.
_RESERVED_FILES = 200
#: A stream of events is a connection; more streams than this want a second API process.
_MOST_CONNECTIONS = 8000


def allow_connections() -> int:
    """Raise this process's limit of open files as far as it may, and is of use; returns how many
    connections fit. Beyond them uvicorn answers 503: out of files it could not answer at all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _RESERVED_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MOST_CONNECTIONS
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections_within(soft)


def connections_within(files: int) -> int:
    """Of so many open files, always at least one is for a connection."""
    return min(_MOST_CONNECTIONS, max(1, files - _RESERVED_FILES))
