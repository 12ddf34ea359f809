"""The volumes of data apps: they outlive their app, and go only when that is said."""

import logging
from collections.abc import Sequence
from contextlib import suppress

from octo.catalog import Catalog
from octo.errors import Conflict, NoSuchApp
from octo.model import App, AppName
from octo.options import DATA, is_data
from octo.ports import Runtime, Volume

log = logging.getLogger(__name__)


def refuse_with_volumes(volumes: Sequence[Volume], app: App) -> None:
    """The engine cannot rename a volume, and its name is how it is found."""
    if volumes:
        raise Conflict(
            f'cannot rename "{app.name}": its volumes are found by its name',
            hint="Make an app of the other name, copy what the volumes hold, and destroy this one.",
        )


def refuse_in_use(catalog: Catalog, app: App) -> None:
    """Raises Conflict while the app whose data they are runs with them."""
    if not is_data(app.name):
        return
    with suppress(NoSuchApp):
        user = catalog.app(AppName(app.name.removesuffix(DATA)))
        live = catalog.live(user)
        if live and live.options.volumes_from and not user.stopped:
            raise Conflict(
                f'cannot remove the volumes of "{app.name}": "{user.name}" uses them',
                hint=f"Stop it first: octo ps:stop {user.name}",
            )


def remove_volumes(runtime: Runtime, app: AppName) -> Sequence[Volume]:
    """Remove what nothing uses; returns those that are gone."""
    gone = []
    for volume in runtime.volumes(app):
        try:
            runtime.remove_volume(volume.name)
            gone.append(volume)
        except Conflict as error:
            log.warning("the volume %s stays: %s", volume.name, error.message)
    return gone
