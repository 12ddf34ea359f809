"""What an app may have of the host and of other apps."""

import pytest

from octo import codec
from octo.catalog import Catalog
from octo.catalog.writes import Targets, app_write, targets_write
from octo.errors import DeployFailed, Forbidden, NotFound, OctoError, Taken, Usage
from octo.model import App, AppName, UserName
from octo.pipeline.permits import Permits
from octo.ports import Mounted, Stream, Volume
from octo.runoptions import HostPort, Link, Mount, RunOptions
from tests.fakes_router import FakeRouter
from tests.unit.octo.pipeline.parts import Stood, ports

ANN, BOB = UserName("ann"), UserName("bob")


class Place:
    def __init__(self) -> None:
        self.stood: Stood = ports()
        self.store = self.stood.ports.store
        self.catalog = Catalog(self.store)
        self.permits = Permits(self.stood.ports, self.catalog, {2222: "pushes by SSH"})

    def app(self, name: str, owner: UserName | None = ANN, allowed: tuple[str, ...] = (), live: int = 0) -> App:
        made = self.catalog.create(AppName(name), now=1, owner=owner)
        made = codec.build(App, {**codec.plain(made), "allowed": allowed, "live": live})
        self.store.put_many([app_write(made)])
        return made


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.mark.row("D5")
@pytest.mark.parametrize(
    ("options", "word"),
    [
        (RunOptions(mounts=(Mount("/srv/p q", "/x"),)), "mount=/srv/p q"),
        (RunOptions(mounts=(Mount("/srv/photos/in", "/x"),)), "mount=/srv/photos/in"),
        (RunOptions(ports=(HostPort(25, 25),)), "port=25"),
        (RunOptions(links=(Link("db", "other"),)), "link=other"),
        (RunOptions(links=(Link("db", "shopping_db"),)), "link=shopping_db"),
    ],
)
def test_what_the_operator_did_not_allow_is_refused_with_what_to_type(
    place: Place, options: RunOptions, word: str
) -> None:
    for name in ("other", "shopping_db"):
        place.app(name)
    app = place.app("shop", allowed=("mount=/srv/photos", "port=26", "link=another"))
    with pytest.raises(Forbidden, match="only the operator can allow that") as refused:
        place.permits.check(app, options)
    assert refused.value.hint.startswith("Ask the operator to type: octo apps:allow shop ") and (
        word in refused.value.hint
    )
    place.permits.check(place.app("shop2", allowed=(word,)), options)


@pytest.mark.row("D5")
def test_a_service_of_its_own_needs_no_leave_but_the_same_owner(place: Place) -> None:
    app, link = place.app("shop"), RunOptions(links=(Link("redis"),))
    with pytest.raises(NotFound, match='cannot link to "shop_redis": there is no such app'):
        place.permits.check(app, link)
    place.permits.check(app, link, anew=False)
    place.app("shop_redis", BOB)
    with pytest.raises(Forbidden):
        place.permits.check(app, link, anew=False)
    place.app("shop_db")
    place.permits.check(app, RunOptions(links=(Link("db"), Link("sql", "shop_db"))))
    with pytest.raises(Usage, match="to itself"):
        place.permits.check(app, RunOptions(links=(Link("me", "shop"),)))
    with pytest.raises(NotFound):  # a name that no app can have
        place.permits.check(app, RunOptions(links=(Link("x" * 60),)))


def test_whether_a_foreign_app_is_there_is_not_told(place: Place) -> None:
    app = place.app("shop")
    place.app("secret", BOB)
    said = []
    for name in ("secret", "nothing"):
        with pytest.raises(OctoError) as refused:
            place.permits.check(app, RunOptions(links=(Link("db", name),)), user=ANN)
        said.append((refused.value.message + refused.value.hint).replace(name, "NAME"))
    assert said[0] == said[1]


@pytest.mark.row("D5")
def test_a_port_belongs_to_one_app_and_never_octos_own(place: Place) -> None:
    app, other = place.app("shop", allowed=("port=25", "port=2222")), place.app("mail", BOB)
    wish = RunOptions(ports=(HostPort(25, 2525),))
    place.permits.check(app, wish)
    place.store.put_many([targets_write(other, Targets(1, False, streams=(Stream("10.0.0.1", 25),)))])
    for user, words in ((ANN, "another app has it"), (BOB, 'the app "mail" has it'), (None, 'the app "mail" has it')):
        with pytest.raises(Taken, match=words):
            place.permits.check(app, wish, user=user)
    with pytest.raises(Forbidden, match=r"it is octo's own \(pushes by SSH\)"):
        place.permits.check(app, RunOptions(ports=(HostPort(2222, 22),)))


def test_a_port_that_another_program_has_is_told(place: Place) -> None:
    router = place.stood.ports.router
    assert isinstance(router, FakeRouter)
    router.foreign[25] = "exim4 (pid 7) listens on port 25"
    with pytest.raises(DeployFailed, match="exim4"):
        place.permits.check(place.app("shop", allowed=("port=25",)), RunOptions(ports=(HostPort(25, 25),)))


@pytest.mark.row("D5")
def test_volumes_are_had_from_the_own_data_app_once_it_has_a_release(place: Place) -> None:
    app, wish = place.app("shop_redis"), RunOptions(volumes_from=True)
    with pytest.raises(NotFound, match='"shop_redis_data": there is no such app'):
        place.permits.check(app, wish)
    place.app("shop_redis_data")
    with pytest.raises(NotFound, match="it has no release"):
        place.permits.check(app, wish)
    place.app("other")
    place.app("other_data", BOB, live=1)
    with pytest.raises(Forbidden):
        place.permits.check(place.catalog.app(AppName("other")), wish)


def test_what_another_owners_app_left_is_not_to_be_had_by_its_name(place: Place) -> None:
    runtime = place.stood.runtime
    image = runtime.add("x")
    left = Volume("octo.shop_data.x", "shop_data", "/data", "bob")
    runtime.disks[left.name] = left
    assert image and Mounted(left.name, left.path, left)
    with pytest.raises(Forbidden, match="another owner"):
        place.permits.check(place.app("shop_data"), RunOptions())
    place.permits.check(place.app("blog_data"), RunOptions())


@pytest.mark.row("D5")
def test_folders_that_lie_in_one_another_are_not_both_allowed(place: Place) -> None:
    place.app("shop", allowed=("mount=/srv/photos",))
    for words in (["mount=/srv/photos/in"], ["mount=/srv"], ["mount=/a", "mount=/a/b"]):
        with pytest.raises(Usage, match="one lies inside the other"):
            place.permits.nested(words)
    place.permits.nested(["mount=/srv/photos", "mount=/srv/photos2", "port=25"])
