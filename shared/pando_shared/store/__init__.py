"""The live index: jobs, files, models, keys, workers, rounds, events, forecasts."""

from pando_shared.store.base import Store
from pando_shared.store.values import Change, JobChanges, NewJob

__all__ = ["Change", "JobChanges", "NewJob", "Store"]
