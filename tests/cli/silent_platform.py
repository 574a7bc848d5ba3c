"""A pool type whose platform never answers."""

from __future__ import annotations

import time

from poolform import Launcher, PoolType, hookimpl


class Silent(Launcher):
    def launch(self, job):
        time.sleep(600)

    def find(self, key):
        time.sleep(600)

    def poll(self, handles):
        time.sleep(600)

    def logs(self, handle, cursor):
        time.sleep(600)

    def cancel(self, handle):
        time.sleep(600)

    def remove(self, handle):
        time.sleep(600)


class SilentPool(PoolType):
    slug = "silent"
    title = "Silent"

    def launcher(self, connection, credential):
        return Silent()


@hookimpl
def poolform_pool_types():
    return [SilentPool]
