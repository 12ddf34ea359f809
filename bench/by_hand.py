"""The same push by hand: sshd, a bare repository, and the script that a sane person would write behind it.

Two variants. "hook": git-receive-pack runs on the host and a post-receive hook deploys. "receiver": a forced command
runs git-receive-pack in a throw-away container with the options of octo's own receivers, then deploys.
"""

import getpass
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import engine
from bench.pushes import Clone, path, program

RECEIVER = 59204  # the uid that octo's receivers have by default
LABEL = "octo.bench"

NGINX = """\
worker_processes {workers};
user nobody nogroup;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log notice;
events {{ worker_connections 1024; }}
http {{
    access_log {prefix}/access.log;
    client_body_temp_path {prefix}/temp; proxy_temp_path {prefix}/temp; fastcgi_temp_path {prefix}/temp;
    uwsgi_temp_path {prefix}/temp; scgi_temp_path {prefix}/temp;
    upstream app {{ include {prefix}/upstream.conf; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}
}}
"""

BEGIN = """\
#!/bin/bash
# deploy REPOSITORY COMMIT
set -euo pipefail
export PATH='{path}' HOME='{folder}' DOCKER_HOST='{engine}' DOCKER_BUILDKIT={buildkit}
unset GIT_DIR
at() {{ echo "$EPOCHREALTIME $1" >>'{folder}/marks'; }}
at received
tag='{name}/by-hand':"$2"
"""
DOCKERFILE = """\
git -c safe.directory='*' -C "$1" archive "$2" | docker build -q -t "$tag" - >/dev/null
"""
END = """\
at built
id=$(docker run -d --network '{name}' --label '{label}={name}' -e PORT=5000 "$tag")
address=$(docker inspect -f '{{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}}{{{{end}}}}' "$id")
at started
until curl -fs -o /dev/null "http://$address:5000/"; do :; done
at answered
echo "server $address:5000;" >'{folder}/nginx/upstream.conf'
nginx -c '{folder}/nginx/nginx.conf' -s reload
at reloaded
"""
HOOK = """\
#!/bin/bash
read -r _ new _
./deploy "$PWD" "$new" </dev/null
"""
FORCED = """\
#!/bin/bash
set -euo pipefail
export PATH='{path}' HOME='{folder}' DOCKER_HOST='{engine}'
echo "$EPOCHREALTIME asked" >>'{folder}/marks'
repository=${{SSH_ORIGINAL_COMMAND#*\\'}} repository=${{repository%\\'}}
docker run -i {receiver}
commit=$(git -c safe.directory='*' -C "$repository" rev-parse refs/heads/main)
"$repository/deploy" "$repository" "$commit" </dev/null >&2
"""


class ByHand:
    """sshd, nginx, a network and two repositories; all of it goes with `down`."""

    def __init__(self, folder: Path, name: str, *, stack: str, ssh_port: int, http_port: int) -> None:
        self.folder, self.name, self.stack = folder, name, stack
        self.ssh_port, self.http_port = ssh_port, http_port
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        folder = self.folder
        folder.mkdir(mode=0o755)
        engine.docker("network", "create", "--label", f"{LABEL}={self.name}", self.name)
        self._scripts()
        for key in ("host", "hook-key", "receiver-key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        self._start_sshd()
        self._start_nginx()

    def clone(self, kind: str, files: Callable[[str], Mapping[str, str]], *, build: str = DOCKERFILE) -> Clone:
        """Make a repository and a clone of it. kind: "hook" or "receiver", or "NAME-hook"...

        build: lines of bash that make the image "$tag" of the commit "$2" in the repository "$1".
        """
        bare = self.folder / f"{kind}.git"
        self._repository(bare, kind.rpartition("-")[2], build)
        remote, port = self.url(bare), self.http_port
        made = Clone(
            self.folder / f"clone-{kind}",
            remote,
            self.ssh_command(kind.rpartition("-")[2]),
            files,
            port,
            "by-hand.localhost",
        )
        made.make()
        return made

    def url(self, repository: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.ssh_port}{repository}"

    def ssh_command(self, kind: str) -> str:
        return (
            f"ssh -F none -i {self.folder}/{kind}-key -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes "
            f"-o UserKnownHostsFile={self.folder}/known_hosts -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR"
        )

    def marks(self) -> Sequence[tuple[float, str]]:
        """The times that the scripts noted since they were asked last."""
        file = self.folder / "marks"
        found = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        file.unlink(missing_ok=True)
        return [(float(at), name) for at, name in found]

    def retire(self) -> None:
        """Remove all containers but the newest, which serves."""
        ids = engine.docker("ps", "-q", "--filter", f"label={LABEL}={self.name}").split()
        if ids[1:]:
            engine.docker("rm", "-f", *ids[1:])

    def bare_receiver(self) -> None:
        """Start and end a receiver that does nothing."""
        engine.docker("run", *self._receiver(self.folder / "receiver.git", "/bin/true"))

    def down(self) -> None:
        for process in reversed(self._running):
            process.terminate()
            process.wait()

    def _scripts(self) -> None:
        for name, text in (("hook", HOOK), ("forced", FORCED)):
            self._script(self.folder / name, text)

    def _script(self, file: Path, text: str) -> None:
        git = self._receiver("$repository", "/usr/bin/git", "receive-pack", "/app/repo.git")
        values = {
            "folder": self.folder,
            "name": self.name,
            "stack": self.stack,
            "label": LABEL,
            "path": path(),
            "engine": os.environ["DOCKER_HOST"],
            "buildkit": int(engine.has_buildkit()),
            "user": RECEIVER,
            "receiver": " ".join(f'"{word}"' for word in git),
        }
        file.write_text(text.format(**values))
        file.chmod(0o755)

    def _receiver(self, repository: Path | str, *argv: str) -> Sequence[str]:
        """The options of octo/adapters/sandbox_docker.py."""
        user = f"{RECEIVER}:{RECEIVER}"
        tmp = f"/tmp:rw,nosuid,nodev,noexec,size=256m,nr_inodes=50000,uid={RECEIVER},gid={RECEIVER},mode=0700"
        return (
            *("--rm", "--network", "none", "--ipc", "none", "--read-only", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--memory", "512m", "--memory-swap", "512m", "--cpus", "2"),
            *("--pids-limit", "256", "--ulimit", "nofile=1024:4096", "--ulimit", "core=0", "--log-driver", "none"),
            *("--tmpfs", tmp, "--user", user, "--label", f"{LABEL}={self.name}-receiver"),
            *("--mount", f"type=bind,source={repository},target=/app/repo.git"),
            *("--workdir", "/", "--entrypoint", argv[0], self.stack, *argv[1:]),
        )

    def _repository(self, bare: Path, kind: str, build: str) -> None:
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
        self._script(bare / "deploy", BEGIN + build + END)
        if kind == "hook":
            (bare / "hooks" / "post-receive").symlink_to(self.folder / "hook")
            return
        for file in (bare, *bare.rglob("*")):
            os.chown(file, RECEIVER, RECEIVER)

    def _start_sshd(self) -> None:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        hook, receiver = ((self.folder / f"{kind}-key.pub").read_text() for kind in ("hook", "receiver"))
        (self.folder / "keys").write_text(f'{hook}restrict,command="{self.folder}/forced" {receiver}')
        settings = {
            "Port": self.ssh_port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "keys",
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "yes",
            # That of octo's own door: OpenSSH's default costs 70 ms more, which is no merit of octo's.
            "KexAlgorithms": "curve25519-sha256@libssh.org",
            # A shell started by sshd reads ~/.bashrc; what is in there is no cost of a push either.
            "SetEnv": f"HOME={self.folder}",
        }
        config = self.folder / "sshd_config"
        config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        self._run([program("sshd"), "-D", "-e", "-f", str(config)], until="Server listening")

    def _start_nginx(self) -> None:
        prefix = self.folder / "nginx"
        prefix.mkdir()
        (prefix / "upstream.conf").write_text("server 127.0.0.1:9;\n")
        config = prefix / "nginx.conf"
        config.write_text(NGINX.format(prefix=prefix, port=self.http_port, workers=os.cpu_count()))
        self._run(
            [program("nginx"), "-e", "stderr", "-c", str(config), "-g", "daemon off;"], until="start worker process"
        )

    def _run(self, argv: Sequence[str], *, until: str) -> None:
        """Start a server; return when it says that it serves. Raises RuntimeError when it ends first."""
        log = self.folder / f"{Path(argv[0]).name}.log"
        with log.open("wb") as out:
            server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self._running.append(server)
        engine.wait_until(lambda: until in _said(log, self.folder / "nginx/error.log") or server.poll() is not None)
        if server.poll() is not None:
            raise RuntimeError(f"cannot start {argv[0]}: {log.read_text().strip()}")


def _said(*files: Path) -> str:
    return "".join(file.read_text() for file in files if file.exists())
