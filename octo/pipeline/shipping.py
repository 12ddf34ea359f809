"""Images to and from a private registry, and apps that begin with an image."""

import secrets
from dataclasses import replace

from octo.catalog import Catalog
from octo.errors import NotFound, OctoError
from octo.formation import wanted
from octo.model import App, AppName, Build, BuildStatus, Release, UserName
from octo.pipeline.deploy import Deployer
from octo.pipeline.plan import Deploy, image_tag, release_of
from octo.pipeline.steering import formation, steered
from octo.ports import Console, Ports


class Shipping:
    def __init__(self, ports: Ports, catalog: Catalog, deployer: Deployer, instance: str) -> None:
        self._ports, self._catalog, self._deployer, self._instance = ports, catalog, deployer, instance

    def after(self, app: App, release: Release, console: Console) -> None:
        """The last thing that a push does, where there is a registry. What fails is told, and the deploy stays."""
        if not self._ports.images.at:
            return
        console.step(f"Pushing {app.name} to a private registry.")
        try:
            self._push(app, release)
            console.detail(f"{self._ports.images.at}/{app.name}: latest, v{release.version}")
        except OctoError as error:
            console.error(error.message)
            console.detail(f"The release serves all the same. Try again: octo push {app.name}")

    def push(self, app: App, console: Console) -> Release:
        """Put the live release's image into the registry. Raises NotFound, Unavailable."""
        live = self._catalog.live(app)
        if live is None:
            raise NotFound(f'cannot push "{app.name}": it has no release that serves', hint="Push its code first.")
        console.step(f"Pushing {app.name} to a private registry.")
        self._push(app, live)
        console.result(f"{self._ports.images.at}/{app.name}: latest, v{live.version}")
        return live

    def pull(self, name: AppName, console: Console) -> str:
        """Fetch the image of an app's name; returns how it is called here. Raises NotFound, Unavailable."""
        console.step(f"Pulling {name} from a private registry.")
        self._ports.images.pull(name)
        local = self._ports.images.local(name)
        console.result(f"It is here as {local}. Serve it: octo start {name} --image")
        return local

    def launch(self, app: App, *, user: UserName | None, console: Console) -> Release:
        """Deploy the image that has the app's name on this machine. The app's lock is the caller's. Raises NotFound."""
        ref = self._ports.images.local(app.name)
        image = self._ports.runtime.image(ref)
        if image is None:
            raise NotFound(
                f'cannot start "{app.name}": there is no image {ref}',
                hint=f"Push its code, or get one: octo pull {app.name}",
            )
        now = self._ports.clock.now()
        id = f"{int(now):08x}{secrets.token_hex(3)}"
        tags, volumes = image.env.get("CONSUL_TAGS", ""), image.volumes
        made = Build(id, app.id, "", user, now, image=image.id, ports=image.ports, tags=tags, volumes=volumes)
        build = replace(made, status=BuildStatus.SUCCEEDED, finished_at=now, processes={"web": None})
        self._ports.runtime.tag(image.id, image_tag(self._instance, app.id, id))
        self._ports.blobs.put(f"builds/{app.id}/{id}", [f"Taken as it is: {ref}\n".encode()])
        self._catalog.save_build(build)
        fresh = release_of(app, build, self._catalog.config(app), user, now, f"Image {ref}")
        release = steered(fresh, app.name, build.options, tags=tags, volumes=volumes)
        scale = formation(self._catalog, app, release)
        deploy = Deploy(app, release, fresh=True, want=wanted(release.processes, scale), scale=scale)
        return self._deployer.deploy(deploy, console).release

    def _push(self, app: App, release: Release) -> None:
        self._ports.images.push(release.image, app.name, ("latest", f"v{release.version}"))
