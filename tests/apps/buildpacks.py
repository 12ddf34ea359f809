"""Sample apps without a Dockerfile, one per built-in buildpack, and a buildpack of somebody's own."""

FLASK = """
import os

from flask import Flask

app = Flask(__name__)
GREETING = open("greeting.txt").read().strip()


@app.get("/")
def page():
    return f"{GREETING} {os.environ.get('OCTO_RELEASE')} {os.environ.get('WORD', '')}"
"""

EXPRESS = """
const express = require("express");
const app = express();
app.get("/", (_, answer) => answer.send(`express ${process.env.OCTO_RELEASE} ${process.env.BUILT || ""}`));
app.listen(process.env.PORT, () => console.log("listening on", process.env.PORT));
"""

ANSWER = 'require("http").createServer((_, answer) => answer.end("here")).listen(process.env.PORT);'

WORKER = """
import signal, time

signal.signal(signal.SIGTERM, lambda *_: exit(0))
print("working", flush=True)
while True:
    time.sleep(60)
"""


def flask(greeting: str = "flask") -> dict[str, str]:
    return {
        "app.py": FLASK,
        "greeting.txt": greeting + "\n",
        "requirements.txt": "flask\ngunicorn\n",
        "Procfile": "web: gunicorn --bind 0.0.0.0:$PORT app:app\n",
    }


def express() -> dict[str, str]:
    package = """{"name": "shop", "version": "1.0.0", "scripts": {"start": "node server.js"},
        "dependencies": {"express": "^4"}}"""
    return {"package.json": package, "server.js": EXPRESS}


def static(text: str = "a page") -> dict[str, str]:
    return {"index.html": f"<h1>{text}</h1>\n", "style.css": "h1 { color: teal }\n", "deep/index.html": "deep\n"}


def worker() -> dict[str, str]:
    return {"Procfile": "worker: python3 work.py\n", "work.py": WORKER}


def monorepo() -> dict[str, str]:
    """A front end that is built by node, and served by a Flask app."""
    package = '{"name": "front", "version": "1.0.0", "scripts": {"build": "node build.js"}}'
    build = 'require("fs").writeFileSync("page.html", "made by node " + process.version);\n'
    serve = FLASK + '\n\n@app.get("/front")\ndef front():\n    return open("front/page.html").read()\n'
    return {
        ".buildpacks": "# first the front end, then what serves it\nnodejs front\npython\n",
        "front/package.json": package,
        "front/build.js": build,
        **flask("mono"),
        "app.py": serve,
    }


def buildpack(
    *, compile: str = "", release: str = "default_process_types:\n  web: python3 -m http.server $PORT"
) -> dict[str, str]:
    """One that says what it was given."""
    return {
        "bin/detect": "#!/bin/sh\necho Mine\n",
        "bin/compile": '#!/bin/sh -e\necho "-----> Mine at work"\necho "word is $(cat "$3/WORD" 2>/dev/null)"\n'
        f'echo made >"$1/index.html"\n{compile}\n',
        "bin/release": f"#!/bin/sh\ncat <<'END'\n---\n{release}\nEND\n",
    }


def hostile(script: str) -> dict[str, str]:
    """An app whose build runs a script."""
    package = '{"name": "evil", "version": "1.0.0", "scripts": {"build": "bash evil.sh", "start": "node server.js"}}'
    return {"package.json": package, "evil.sh": script, "server.js": ANSWER}
