"""The apps' repositories as folders. Only git in a sandbox works in them: octo makes, tidies and removes them."""

import os
import re
import shutil
from pathlib import Path

_ID = re.compile(r"[0-9a-f]{4,64}")


class Repositories:
    """One folder for each app, `<App.id>.git`, of the user that git runs as."""

    def __init__(self, folder: Path, user: int) -> None:
        self._folder, self._user = folder, user
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)

    def path(self, app: str) -> Path:
        if not _ID.fullmatch(app):
            raise ValueError(f"BUG: {app!r} is no app id")
        return self._folder / f"{app}.git"

    def ready(self, app: str) -> Path:
        """The app's repository; an empty folder when it has none."""
        folder = self.path(app)
        if not folder.exists():
            folder.mkdir(mode=0o700)
            os.chown(folder, self._user, self._user)
        return folder

    def tidy(self, app: str) -> None:
        tidy(self.path(app))

    def forget(self, app: str) -> None:
        shutil.rmtree(self.path(app), ignore_errors=True)


def tidy(repository: Path) -> None:
    """Remove what a killed git left: quarantines, lock files, half packs. Never git's work, and no link is followed."""
    try:
        top = os.open(repository, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        for _, folders, files, at in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            for name in [f for f in folders if f.startswith("tmp_objdir-")]:
                folders.remove(name)
                shutil.rmtree(name, dir_fd=at, ignore_errors=True)
            for name in files:
                if name.endswith(".lock") or name.startswith(("tmp_", ".tmp-")):
                    os.unlink(name, dir_fd=at)
    finally:
        os.close(top)
