"""The slugs that are kept: which there are of an app, and what is in one. The pruning says how long they stay."""

from collections.abc import Iterable, Sequence

from octo import slugname
from octo.catalog import Catalog
from octo.errors import NotFound
from octo.model import App, Build, BuildStatus
from octo.pipeline.plan import slug_blob
from octo.ports import Blobs
from octo.slugname import Wanted


class Slugs:
    def __init__(self, blobs: Blobs, catalog: Catalog) -> None:
        self._blobs, self._catalog = blobs, catalog

    def find(self, app: App, sought: Wanted) -> Sequence[Build]:
        """The builds that are meant, whatever became of them, the oldest first."""
        released = {f"v{r.version}": r.build for r in self._catalog.releases(app)}
        found = [b for b in self._catalog.builds(app) if slugname.fits(b, app, sought, released)]
        return sorted(found, key=lambda b: b.created_at)  # ids know the second alone

    def size(self, build: Build) -> int | None:
        """Bytes of the slug as it is kept; None when none is."""
        if build.status is not BuildStatus.SUCCEEDED or not build.stack:
            return None
        try:
            return self._blobs.size(slug_blob(build.id))
        except NotFound:
            return None

    def open(self, build: Build) -> tuple[int, Iterable[bytes]]:
        """Size and content. Raises NotFound, saying why there is none."""
        size = self.size(build)
        if size is None:
            raise _absent(build)
        try:
            return size, self._blobs.get(slug_blob(build.id))
        except NotFound:  # removed since
            raise _absent(build) from None


def _absent(build: Build) -> NotFound:
    said = f'cannot fetch the slug of the build "{build.id}"'
    if build.status is BuildStatus.RUNNING:
        return NotFound(f"{said}: it is still being built", hint="Wait for the push to end.")
    if build.status is not BuildStatus.SUCCEEDED:
        return NotFound(f"{said}: it was not built to its end", hint=f"See: octo builds:output {build.id}")
    if not build.stack:
        return NotFound(f"{said}: a Dockerfile makes an image and no slug", hint="Choose a build of buildpacks.")
    return NotFound(
        f"{said}: it has been removed, as those of the last releases alone are kept",
        hint="Push the commit again, or have the operator raise keep_releases.",
    )
