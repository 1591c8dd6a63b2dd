"""The live index: jobs, files, models, keys, workers, rounds, events, forecasts."""

from pando_shared.store.base import Change, JobChanges, NewJob, Store

__all__ = ["Change", "JobChanges", "NewJob", "Store"]
