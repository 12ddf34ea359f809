"""octo's own buildpacks, each in a real container of the stack, with the packages of the real registries."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.buildpack_parts import Box, box
from tests.unit.octo.guest.runner_parts import CHECKOUT

SCRIPTS = sorted(f for f in (CHECKOUT / "buildpacks").glob("*/bin/*") if f.is_file())
FLASK = b"from flask import Flask\napp = Flask(__name__)\n\n\n@app.get('/')\ndef page():\n    return 'hello flask'\n"
EXPRESS = b"""const app = require('express')();
app.get('/', (_, answer) => answer.send('hello express'));
app.listen(process.env.PORT);
"""
# Start the process, ask it until it answers, end it.
ASK = """({0}) & for i in $(seq 100); do curl -sf localhost:5000/ && break; sleep 0.1; done; kill $! 2>/dev/null"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Box]:
    """One box for all tests of a worker: the cache of one is that of the others."""
    with box() as found:
        yield found


@pytest.fixture
def here(shared: Box) -> Box:
    shared.octod.blobs.clear()
    return shared


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda f: f"{f.parts[-3]}-{f.name}")
def test_shellcheck_finds_nothing(script: Path) -> None:
    done = subprocess.run(["shellcheck", "-x", "--shell=sh", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_each_has_all_programs_and_says_what_it_looks_for() -> None:
    for name in ("python", "nodejs", "static", "procfile"):
        folder = CHECKOUT / "buildpacks" / name
        assert all((folder / "bin" / p).stat().st_mode & 0o111 for p in ("detect", "compile", "release"))
        assert (folder / "looks-for").read_text().strip()


@pytest.mark.row("E2", "E4", "E5", "E6")
def test_a_flask_app_runs_and_its_second_build_downloads_nothing(here: Box) -> None:
    files = {"app.py": FLASK, "requirements.txt": b"-r base.txt\ngunicorn\n", "base.txt": b"flask\n"}
    first = here.build(files)
    assert first.code == 0, first.said
    assert first.said.startswith("-----> Python app detected\n-----> Using Python 3.")
    assert "       Default types for Python -> web\n" in first.said
    assert first.result["processes"] == {"web": "gunicorn app:app"}
    assert "hello flask" in here.run(first.slug, ASK.format("gunicorn app:app"), env={"PORT": "5000"})
    second = here.build(files)
    assert second.code == 0, second.said
    assert "Using the packages of the last build" in second.said and "Downloading" not in second.said
    assert second.result["cache"] == {"fetched": len(here.octod.blobs["cache"]), "stored": False, "why": "unchanged"}
    assert set(second.members()) == set(first.members())
    third = here.build({**files, "base.txt": b"flask\nitsdangerous\n"})
    assert "-----> Installing requirements.txt with pip\n" in third.said  # what it includes has changed
    assert "app/.octo/python/bin/gunicorn" in third.members()


def test_a_requirement_that_does_not_exist_refuses_the_push_in_pips_words(here: Box) -> None:
    built = here.build({"requirements.txt": b"itsdangerous==0.0.0.999\n", "Procfile": b"web: x\n"})
    assert built.code == 1
    assert "No matching distribution found" in built.said
    assert "Push rejected, failed to compile Python app" in built.said
    assert not built.slug


PROJECT = b'[project]\nname = "mine"\nversion = "1.0"\nrequires-python = ">=3.9"\ndependencies = ["itsdangerous"]\n'


@pytest.mark.row("E4")
def test_a_pyproject_is_installed_with_its_program(here: Box) -> None:
    more = b'[project.scripts]\nmine = "mine:main"\n[tool.setuptools]\npy-modules = ["mine"]\n'
    module = b"import itsdangerous\n\n\ndef main():\n    print('mine', itsdangerous.__name__)\n"
    built = here.build({"pyproject.toml": PROJECT + more, "mine.py": module, "Procfile": b"web: mine\n"})
    assert built.code == 0, built.said
    assert here.run(built.slug, "mine") == "mine itsdangerous\n"


@pytest.mark.row("E4", "E5")
def test_a_uv_lock_is_synced_with_uv_which_the_cache_keeps(here: Box) -> None:
    assert here.build({"Procfile": b"web: x\n"}).code == 0
    lock = here.in_stack(
        {"pyproject.toml": PROJECT},
        "python3 -m venv $TMPDIR/v && $TMPDIR/v/bin/pip -q install uv && $TMPDIR/v/bin/uv lock -q && cat uv.lock",
    )
    files = {"pyproject.toml": PROJECT, "uv.lock": lock, "Procfile": b"web: x\n"}
    built = here.build(files)
    assert built.code == 0, built.said
    assert "-----> Installing uv.lock with uv\n" in built.said
    assert here.run(built.slug, "python -c 'import itsdangerous; print(itsdangerous.__file__)'").startswith(
        "/app/.octo/"
    )
    again = here.build(files)
    assert again.code == 0 and again.result["cache"]["why"] == "unchanged", again.said


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("runtime.txt", "python-3.4.10", "cannot use Python 3.4.10, as runtime.txt asks for: this stack has Python 3."),
        (".python-version", "2.7\n", "cannot use Python 2.7, as .python-version asks for: this stack has Python 3."),
        ("runtime.txt", "pypy-3.9", 'cannot read runtime.txt: "pypy-3.9" is no version of Python'),
        ("runtime.txt", "python-3.9; id", "is no version of Python"),
    ],
)
def test_a_python_that_the_stack_has_not_is_refused_with_what_it_has(
    here: Box, name: str, text: str, said: str
) -> None:
    built = here.build({"requirements.txt": b"flask\n", name: text.encode()})
    assert built.code == 1 and said in built.said
    assert "Collecting" not in built.said


def test_a_python_of_another_patch_level_is_used_and_said(here: Box) -> None:
    built = here.build({"requirements.txt": b"", "runtime.txt": b"# x\r\npython-3.11.99\r\n", "Procfile": b"web: x\n"})
    if "this stack has" in built.said:
        pytest.skip("the stack has no Python 3.11")
    assert built.code == 0, built.said
    assert "runtime.txt asks for Python 3.11.99; the stack's Python 3.11" in built.said


def express(**fields: object) -> bytes:
    about = {"name": "shop", "version": "1.0.0", "dependencies": {"express": "^4"}, **fields}
    return json.dumps(about).encode()


@pytest.mark.row("E2", "E4", "E5", "E6")
def test_an_express_app_runs_and_its_second_build_downloads_nothing(here: Box) -> None:
    scripts = {"start": "node main.js", "build": "semver 1.0.0 && echo built >built.txt"}
    package = express(scripts=scripts, devDependencies={"semver": "^7"}, engines={"node": ">=16 <99 || ^14.1"})
    lock = here.in_stack({"package.json": package}, "npm install --package-lock-only -s >&2 && cat package-lock.json")
    files = {"package.json": package, "package-lock.json": lock, "main.js": EXPRESS}
    first = here.build(files)
    assert first.code == 0, first.said
    assert "-----> Node.js app detected\n-----> Using Node.js " in first.said
    assert "-----> Installing package-lock.json with npm ci\n" in first.said
    assert first.result["processes"] == {"web": "npm start"}
    members = first.members()
    assert "app/built.txt" in members and "app/node_modules/express" in members
    assert "app/node_modules/.bin/semver" not in members  # what only the build needed
    assert "hello express" in here.run(first.slug, ASK.format("exec node main.js"), env={"PORT": "5000"})
    second = here.build(files)
    assert "Using the packages of the last build: package.json and package-lock.json unchanged" in second.said
    assert second.result["cache"]["why"] == "unchanged"
    assert set(second.members()) == set(members)


def test_a_build_script_that_fails_refuses_the_push(here: Box) -> None:
    about = {"name": "x", "version": "1.0.0", "scripts": {"build": "echo no good; exit 4"}}
    built = here.build({"package.json": json.dumps(about).encode(), "server.js": b""})
    assert built.code == 1
    assert "       no good\n" in built.said
    assert " !     the build script of package.json failed" in built.said


def test_an_app_without_packages_is_built_too(here: Box) -> None:
    built = here.build({"package.json": b'{"name": "x", "version": "1.0.0"}', "server.js": b""})
    assert built.code == 0, built.said
    assert built.result["processes"] == {"web": "node server.js"}


@pytest.mark.parametrize(
    ("package", "said"),
    [
        (
            b'{"engines": {"node": "0.10.x"}}',
            'cannot use Node.js "0.10.x", as package.json asks for: this stack has Node.js',
        ),
        (b'{"engines": {"node": "latest and greatest"}}', "is no range of versions"),
        (b"{", "cannot read package.json"),
        (b"[]", "cannot read package.json"),
    ],
)
def test_a_node_that_the_stack_has_not_is_refused_with_what_it_has(here: Box, package: bytes, said: str) -> None:
    built = here.build({"package.json": package, "server.js": b""})
    assert built.code == 1 and said in built.said


RANGES = {
    "18.20.4": True, "v18.20.4": True, "18.20.3": False, "18.x": True, "18": True, "18.20": True, "18.19": False,
    "*": True, "": True, "x": True, "^18.0.0": True, "^18.20.5": False, "^17": False, "~18.20.0": True, "~18.19": False,
    "~18": True, ">=18": True, ">18": False, ">18.20": False, ">18.19": True, ">= 16.0.0": True, "<18": False,
    "<=18": True, "<=18.20.3": False, ">=16 <18": False, ">=16 <19": True, "14 || 16 || 18": True,
    "14.x || ^16.1": False, "16 - 18": True, "16 - 17.9": False, "=18.20.4": True, "^0.10": False, "<*": False,
    ">=18.0.0-0": True, "lts/*": None, "18.20.4.1": None, "node": None,
}  # fmt: skip


def test_ranges_of_versions_are_understood(tmp_path: Path) -> None:
    if not shutil.which("node"):
        pytest.skip("there is no node here")
    facts = CHECKOUT / "buildpacks/nodejs/lib/facts.js"
    script = "const f = require(process.argv[1]); const r = JSON.parse(process.argv[2]);"
    script += "console.log(JSON.stringify(Object.fromEntries(r.map((k) => [k, f.satisfies('v18.20.4', k) ?? null]))))"
    done = subprocess.run(["node", "-e", script, facts, json.dumps(list(RANGES))], capture_output=True, check=True)
    assert json.loads(done.stdout) == RANGES


@pytest.mark.row("E2", "E6", "E7")
def test_a_procfile_alone_is_enough(here: Box) -> None:
    built = here.build({"Procfile": b"web: ./serve\nworker: ./work\n", "serve": ("#!/bin/sh\necho served", 0o755)})
    assert built.code == 0, built.said
    assert built.said.startswith("-----> Procfile app detected\n")
    assert built.result["processes"] == {"web": "./serve", "worker": "./work"}
    assert here.run(built.slug, "./serve") == "served\n"


@pytest.mark.row("E2", "E6")
@pytest.mark.parametrize("root", ["", "dist"])
def test_a_static_site_is_served_on_port(here: Box, root: str) -> None:
    site = {f"{root}/index.html".lstrip("/"): b"<h1>a page</h1>"}
    files = {**site, **({"static.json": json.dumps({"root": root}).encode()} if root else {})}
    built = here.build(files)
    assert built.code == 0, built.said
    assert built.said.startswith(f"-----> Static app detected\n-----> Serving {root or '.'} with 1 files\n")
    command = built.result["processes"]["web"]
    assert "<h1>a page</h1>" in here.run(built.slug, ASK.format(command), env={"PORT": "5000"})


@pytest.mark.parametrize("root", ["..", "/etc", "dist/../..", "link", "none", "file", 5, "a\0b"])
def test_a_static_root_outside_the_app_is_refused(here: Box, root: object) -> None:
    built = here.build({"static.json": json.dumps({"root": root}).encode(), "link": "/etc", "file": b"", "dist/x": b""})
    assert built.code == 1
    assert "cannot serve" in built.said or "root is no text" in built.said


@pytest.mark.row("E2")
def test_a_monorepo_builds_its_parts_in_their_folders(here: Box) -> None:
    package = {"name": "front", "version": "1.0.0", "scripts": {"build": "mkdir -p dist && echo page >dist/index.html"}}
    files = {
        ".buildpacks": b"nodejs front\nstatic front\n",
        "front/package.json": json.dumps(package).encode(),
        "front/static.json": b'{"root": "dist"}',
    }
    built = here.build(files)
    assert built.code == 0, built.said
    command = built.result["processes"]["web"]
    assert command == "cd front && exec python3 -I .octo/static_server.py"
    assert "page" in here.run(built.slug, ASK.format(command), env={"PORT": "5000"})
