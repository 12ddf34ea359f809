"""A push of a Flask app without a Dockerfile, cold and with its packages in the cache, against its parts by hand.

By hand twice. "receiver": git receives in a container, and the same commands run in another one of the stack. "hook":
nothing runs in a container but the app, which is the floor; it knows nothing but to take the packages as they are.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.by_hand import RECEIVER, ByHand
from bench.octo_side import Octo
from bench.pushes import Clone
from bench.table import Goal, Row

APP = "bench-flask"
COLD = 3  # pushes at most that fetch from PyPI: it is not ours
FLASK = """\
from flask import Flask

app = Flask(__name__)


@app.get("/")
def page():
    return "{greeting}"
"""
# What octo does, without its care: packages by pip or out of the cache, the tree as a gzipped tar on stdout.
INSTALL = """\
set -eu
cd /app
tar -x
if cmp -s requirements.txt /work/requirements.txt; then
	tar -xf /work/venv.tar
else
	python3 -m venv --without-pip /app/.octo/python >&2
	python3 -m pip --python /app/.octo/python/bin/python install -q --cache-dir /work/pip -r requirements.txt >&2
	tar -cf /work/venv.tar .octo
	cp requirements.txt /work/
fi
tar -c -C / --owner=59205 --group=59205 --numeric-owner app | igzip -2 -c
"""
IMAGE = """\
cat >"$context/Dockerfile" <<-'DOCKERFILE'
	FROM {stack}
	ADD slug.tar /
	USER app
	WORKDIR /app
	CMD exec /app/.octo/python/bin/python -m gunicorn --bind 0.0.0.0:$PORT app:app
DOCKERFILE
docker build -q -t "$tag" "$context" >/dev/null
rm -r "$context"
"""
IN_A_CONTAINER = (
    """\
context=$(mktemp -d -p '{folder}')
git -c safe.directory='*' -C "$1" archive "$2" |
	docker run --rm -i --label '{label}={name}' --user {user}:{user} --cap-drop ALL --memory 1g --pids-limit 512 \\
		--security-opt no-new-privileges --tmpfs /app:exec,uid={user},gid={user} -v '{folder}/cache:/work' \\
		-e HOME=/app -e PIP_DISABLE_PIP_VERSION_CHECK=1 --entrypoint /bin/bash '{stack}' /work/install \\
		>"$context/slug.tar"
"""
    + IMAGE
)
ON_THE_HOST = (
    """\
context=$(mktemp -d -p '{folder}')
mkdir "$context/app"
git -c safe.directory='*' -C "$1" archive "$2" | tar -x -C "$context/app"
tar -xf '{folder}/cache/venv.tar' -C "$context/app"
tar -cf "$context/slug.tar" -C "$context" --owner=59205 --group=59205 --numeric-owner app
rm -r "$context/app"
"""
    + IMAGE
)


def files(greeting: str) -> Mapping[str, str]:
    return {
        "app.py": FLASK.format(greeting=greeting),
        "requirements.txt": "flask\ngunicorn\n",
        "Procfile": "web: gunicorn --bind 0.0.0.0:$PORT app:app\n",
    }


@dataclass
class Buildpacks:
    """Rounds of: cold (octo, by hand), then with a cache (octo, by hand, by hand on the host)."""

    octo: Octo
    hand: ByHand
    tell: Callable[[str], None]
    took: dict[str, list[float]] = field(default_factory=dict)  # ms until a visitor sees it

    def run(self, rounds: int) -> None:
        self.octo.ask("POST", "/apps", {"name": APP})
        clones = {
            "octo": self.octo.clone(APP, files),
            "receiver": self.hand.clone("flask-receiver", files, build=IN_A_CONTAINER),
            "hook": self.hand.clone("flask-hook", files, build=ON_THE_HOST),
        }
        for number in range(min(rounds, COLD)):
            self.tell(f"buildpack push, cold, {number + 1} of {min(rounds, COLD)}")
            for kind in ("octo", "receiver"):
                self._purge(kind)
                self._push("cold", kind, clones[kind])
        for number in range(-1, rounds):
            self.tell(f"buildpack push, cached, {number + 1} of {rounds}" if number >= 0 else "warm-up")
            for kind, clone in clones.items():
                self._push("cached" if number >= 0 else "", kind, clone)

    def rows(self) -> Sequence[Row]:
        goal, took = Goal(ratio=1.3), self.took
        what = "buildpack push → new version answers"
        return (
            Row(f"{what}, cold; by hand: two containers", took["cold octo"], took["cold receiver"]),
            Row(
                f"{what}, all cached; by hand: two containers",
                took["cached octo"],
                took["cached receiver"],
                goal,
            ),
            Row(f"{what}, all cached; by hand: on the host", took["cached octo"], took["cached hook"]),
        )

    def _purge(self, kind: str) -> None:
        if kind == "octo":
            self.octo.host.octo("build:cache:purge", "-a", APP)
            return
        cache = self.hand.folder / "cache"
        if cache.exists():
            shutil.rmtree(cache)
        cache.mkdir()
        (cache / "install").write_text(INSTALL)
        shutil.chown(cache, RECEIVER, RECEIVER)

    def _push(self, how: str, kind: str, clone: Clone) -> None:
        timed = clone.push()
        self.octo.host.idle()
        self.hand.retire()
        if how:
            self.took.setdefault(f"{how} {kind}", []).append(timed.answered * 1000)
