"""The scheduler's way to send messages. It runs no tasks."""

from pando_shared.settings import Settings
from pando_shared.store.messages import CeleryMessenger, make_celery


def make_messenger(settings: Settings) -> CeleryMessenger:
    return CeleryMessenger(make_celery(settings.redis_url))
