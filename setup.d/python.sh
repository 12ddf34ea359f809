# The Python, the venv, and what octo's own settings say. Sourced by setup.
# shellcheck shell=sh

venv=$here/.venv

run_python() { "$venv/bin/python" "$@"; }

find_python() { # print the first Python that is new enough and can make a venv
	for candidate in "${PYTHON:-}" /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
		has "$candidate" || continue
		"$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
		command -v "$candidate"
		return
	done
	return 1
}

python_packages() { # what find_python lacks
	if /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
		echo python3-venv
		return
	fi
	for version in 3.13 3.12 3.11; do # Ubuntu 22.04's own is 3.10, its archive has 3.11
		archive_has "python$version-venv" || continue
		echo "python$version-venv"
		return
	done
	has python3 || echo python3-venv
}

install_python() { # [test]
	step "Looking at the Python packages"
	python=$(find_python) || die "cannot use $(python3 -V 2>&1): octo needs Python 3.11 or newer, with venv" \
		"Install one, and name it: sudo PYTHON=/path/to/python3 $(quoted "$script") ..."
	make_venv
	install_lock requirements.txt
	[ "${1-}" != test ] || install_lock requirements-dev.txt
	took
}

make_venv() {
	# The place is part of it: scripts in a venv name their interpreter by its full path.
	made=$(printf '%s\n' "$python" "$("$python" -V)" "$here")
	if [ "$(cat "$venv/.made-for" 2>/dev/null)" = "$made" ] && run_python -c pass 2>/dev/null; then
		return 0
	fi
	detail "making .venv with $("$python" -V)"
	rm -rf -- "$venv"
	patiently "$python" -m venv "$venv" || failed "cannot make the venv \"$venv\""
	printf '%s\n' "$made" >"$venv/.made-for"
}

install_lock() { # FILE: with hashes, so that nothing but what was locked gets in
	stamp=$venv/.$1.sha256
	if (cd "$here" && sha256sum --status -c "$stamp" 2>/dev/null); then
		detail "$1: all there"
		return 0
	fi
	detail "installing $1"
	# pip brings its own list of authorities and would not see those that the host was told to trust.
	PIP_CERT=${PIP_CERT:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}} \
		patiently "$venv/bin/python" -m pip --disable-pip-version-check --no-input \
		install --require-hashes --only-binary :all: -r "$here/$1" ||
		failed "cannot install the Python packages of $1" "Check that this host reaches its package index (pip config list)."
	(cd "$here" && sha256sum "$1" >"$stamp")
}

default_home() { # .octo in the checkout, if unprivileged processes can get there and tools bear its name
	case $here in
	*[!A-Za-z0-9._/-]*) echo /var/lib/octo-embedded ;;
	*) if [ ${#here} -le 72 ] && is_open "$here"; then echo "$here/.octo"; else echo /var/lib/octo-embedded; fi ;;
	esac
}

is_open() { # FOLDER: may others pass through it, and all above it?
	folder=$1
	while :; do
		case $(stat -c %A "$folder/") in
		*[xt]) ;;
		*) return 1 ;;
		esac
		[ -n "$folder" ] || return 0
		folder=${folder%/*}
	done
}

choose_home() {
	OCTO_HOME=${OCTO_HOME:-$(default_home)}
	case $OCTO_HOME in
	/*) ;;
	*) OCTO_HOME=$here/$OCTO_HOME ;;
	esac
	export OCTO_HOME
}

load_settings() { # octo reads them itself: octo.toml and OCTO_* mean the same here and there
	choose_home
	settings=$(run_python -c '
import os, sys
from octo.errors import OctoError
from octo.settings import load
try:
    s = load(os.environ)
except OctoError as error:
    sys.exit(f" !     {error.message}\n !     {error.hint}".removesuffix("\n !     "))
print(s.ssh_port, s.http_port, s.listen.replace("0.0.0.0", "127.0.0.1"), s.domain_suffix, s.stack)
print(s.engine, s.stacks, sep="\n")
') || exit 1
	{
		read -r ssh_port http_port address suffix stack
		read -r engine
		read -r stacks
	} <<-END
		$settings
	END
}
