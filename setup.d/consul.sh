# Consul, for the tests of the store and the registry on it. Sourced by setup.
# shellcheck shell=sh

consul_folder='' # apt's state for the one older suite, gone when setup ends

install_consul() { # a consul that is there counts, wherever it came from; the newest Debian with one is 11
	step "Looking at Consul"
	suite_with_consul=${OCTO_CONSUL_SUITE:-bullseye}
	if has consul; then
		detail "$(consul version 2>/dev/null | head -n 1) at $(command -v consul)"
	elif [ -n "${OCTO_CONSUL_DEB:-}" ]; then
		[ -f "$OCTO_CONSUL_DEB" ] ||
			die "cannot install \"$OCTO_CONSUL_DEB\": there is no such file" "Set OCTO_CONSUL_DEB to a .deb with Consul."
		install_quietly "$(readlink -f -- "$OCTO_CONSUL_DEB")"
	elif [ "$suite_with_consul" = none ]; then
		warn "going on without Consul, as OCTO_CONSUL_SUITE=none says: what needs it is not tested"
	elif [ -z "${OCTO_CONSUL_SUITE:-}" ] && archive_has consul; then
		install_quietly consul
	else
		install_older_consul
	fi
	took
}

install_older_consul() {
	# Not by a line in the host's own sources: then nothing else can come from that suite, now or later, and nothing
	# asks for it once it has moved away.
	mirror=$(consul_mirror) || exit 1
	detail "fetching it from $suite_with_consul"
	consul_folder=$(mktemp -d -t octo-consul.XXXXXX)
	mkdir -p "$consul_folder/lists/partial" "$consul_folder/archives/partial" "$consul_folder/debs"
	[ -e "$(keyring)" ] || install_quietly debian-archive-keyring
	printf 'deb [signed-by=%s] %s %s main\n' "$(keyring)" "$mirror" "$suite_with_consul" >"$consul_folder/sources.list"
	chown -R _apt "$consul_folder" # apt drops root for downloads
	wanted=consul
	archive_has pipexec || wanted='consul pipexec'
	# shellcheck disable=SC2086 # a list of names
	patiently fetch_of_suite $wanted ||
		failed "cannot fetch Consul from $suite_with_consul of $mirror" \
			"Set OCTO_CONSUL_MIRROR and OCTO_CONSUL_SUITE, or OCTO_CONSUL_DEB to a .deb; OCTO_CONSUL_SUITE=none goes without."
	install_quietly "$consul_folder"/debs/*.deb
	forget_consul_folder
}

keyring() { echo /usr/share/keyrings/debian-archive-keyring.gpg; }

consul_mirror() { # the host's own, or what is set
	run_python -c '
import os, sys
from octo.errors import OctoError
from octo.stack.root import Debootstrap
try:
    mirror = os.environ.get("OCTO_CONSUL_MIRROR", "")
    print(mirror or Debootstrap("", "", (), "", 0, os.environ).plan({}).archive.mirror)
except OctoError:
    sys.exit(" !     cannot find a mirror in the apt sources of this host\n"
             " !     Set OCTO_CONSUL_MIRROR to the URL of one that has Consul.")
'
}

apt_of_suite() { # COMMAND...: apt-get that knows that one suite and no pins, with lists and a cache of its own
	apt_get -o Dir::Etc::SourceList="$consul_folder/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		-o Dir::State::Lists="$consul_folder/lists" -o Dir::Cache="$consul_folder" \
		-o APT::Update::Error-Mode=any -o Acquire::Languages=none "$@"
}

fetch_of_suite() ( # PACKAGE...: into the folder debs
	cd "$consul_folder/debs"
	apt_of_suite update && apt_of_suite download "$@"
)

forget_consul_folder() {
	[ -z "$consul_folder" ] || rm -rf -- "$consul_folder"
	consul_folder=''
}
