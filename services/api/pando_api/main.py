"""`pando-api`: the API as a process."""

from __future__ import annotations

import gc
import signal
import sys

import uvicorn

from pando_api.app import create_app
from pando_api.bounded_connection import bounded
from pando_api.heaps import share_heaps
from pando_api.open_files import allow_connections
from pando_api.open_streams import streams_within
from pando_shared.catalogue import load_catalogue
from pando_shared.logs import set_up_logging
from pando_shared.read_settings import read_settings
from pando_shared.storage import Storage
from pando_shared.store.messages import CeleryMessenger, make_celery
from pando_shared.store.redis import RedisStore
from pando_shared.store.redis.clock import RedisClock, time_of
from pando_shared.trace_setup import traces

#: Longest wait for open requests after SIGTERM; event streams are closed at once.
SHUTDOWN_SECONDS = 10
#: Longer than clients (httpx 5 s) and proxies (nginx 60 s, Traefik 90 s, Caddy 120 s) keep an idle
#: connection, so that none sends its next request into one that is being closed.
KEEP_ALIVE_SECONDS = 150


def main() -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests that are open."""
    share_heaps()
    settings = read_settings()
    set_up_logging(settings, "api")
    clock = RedisClock(time_of(settings.redis_url))
    connections = allow_connections()
    streams = streams_within(connections, settings.streams_per_tenant)
    app = create_app(
        settings.model_copy(update={"streams_per_tenant": streams}),
        RedisStore(settings.redis_url, clock),
        Storage(settings.storage_url),
        CeleryMessenger(make_celery(settings.redis_url)),
        load_catalogue(settings.models),
        clock,
    )
    # What is there now stays, and is most of what there is. Were it looked at in each collection,
    # all requests would wait meanwhile.
    gc.collect()
    gc.freeze()
    # uvicorn raises the signal again once it has shut down; a shutdown asked for is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with traces(settings, "api"):
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,  # `RequestContext` writes one, with the request's id
            server_header=False,
            forwarded_allow_ips=[str(proxy) for proxy in settings.trusted_proxies],
            http=bounded(settings.stall_seconds),
            ws="none",
            limit_concurrency=connections,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
