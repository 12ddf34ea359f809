"""What steps of several procedures do to the world: wait, stop, prune, many at once."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from octo.catalog import Catalog
from octo.model import App, Slot
from octo.pipeline.plan import image_tag, prunable, slug_blob
from octo.ports import Clock, Console, Ports

KEPT_BUILDS = 50  # of an app, whose records and outputs stay; those with an image always do


def wait_until_closed(
    connections: Callable[[Iterable[str]], int], targets: Sequence[str], clock: Clock, budget: float
) -> None:
    """Wait until nobody is connected to `targets`, `budget` seconds at most."""
    end = clock.monotonic() + budget
    while targets and connections(targets) and clock.monotonic() < end:
        clock.sleep(0.1)


def prune_images(ports: Ports, catalog: Catalog, app: App, instance: str, keep: int) -> None:
    """Drop the images and slugs of builds that no kept release has."""
    for build in prunable(catalog.builds(app), catalog.releases(app), app.live, keep):
        ports.runtime.untag(image_tag(instance, app.id, build.id))
        ports.blobs.delete(slug_blob(build.id))
        catalog.save_build(replace(build, image=""))
    for build in catalog.builds(app)[:-KEPT_BUILDS]:
        if not build.image:
            ports.blobs.delete(f"builds/{app.id}/{build.id}")
            catalog.forget_build(build)


def stopping(ports: Ports, slots: Iterable[Slot], grace: float, console: Console) -> Iterable[Callable[[], object]]:
    def stop(slot: Slot) -> None:
        if ports.runtime.stop(slot.name, grace) and grace:
            console.error(
                f"{slot.process}.{slot.index}: Error R12 (Exit timeout) -> At least one process failed to exit"
                f" within {grace:g} seconds of SIGTERM"
            )

    return [partial(stop, slot) for slot in slots]


def at_once(acts: Iterable[Callable[[], object]]) -> None:
    """Run them side by side; raise the first error after all have ended."""
    with ThreadPoolExecutor(8, thread_name_prefix="deploy") as pool:
        for future in [pool.submit(act) for act in acts]:
            future.result()
