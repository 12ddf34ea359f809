"""Which versions of the stacks must stay."""

from collections.abc import Callable

from octo.catalog import Catalog
from octo.model import BuildStatus
from octo.pipeline.plan import prunable


def needed(catalog: Catalog, keep: int) -> Callable[[str], bool]:
    """Whether a release whose image stays was built on that version, or a build that is under way may be.

    keep: releases whose images stay. A build has its stack in its record only when it is done.
    """

    def used(id: str) -> bool:
        for app in catalog.apps():
            builds, releases = catalog.builds(app), catalog.releases(app)
            gone = {b.id for b in prunable(builds, releases, app.live, keep)}
            if any(b.status is BuildStatus.RUNNING or (b.image and b.stack == id and b.id not in gone) for b in builds):
                return True
        return False

    return used
