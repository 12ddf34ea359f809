# The stack: the base image of receivers and of apps that want it, made from the host's own apt mirror. Sourced by setup.
# shellcheck shell=sh

# python3 and not python3-minimal: the latter has no http.client.
stack_packages='ca-certificates,git,python3'
stack_work=''

make_stack() {
	step "Looking at the stack image $stack"
	[ -z "$extra_ca" ] || [ -r "$extra_ca" ] ||
		die "cannot read the extra_ca \"$extra_ca\"" "Set OCTO_EXTRA_CA to a PEM file, or to nothing."
	find_mirror
	tag=$(stack_recipe | sha256sum | cut -c1-12)
	if stack_is "$stack" || { stack_is "${stack%:*}:$tag" && tag_stack "${stack%:*}:$tag" "$stack"; }; then
		detail "recipe $tag: there already"
		return 0
	fi
	detail "recipe $tag: $suite from $mirror"
	build_stack
	took
}

find_mirror() { # set suite, mirror, and sources: the lines of the image's own sources.list
	code=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release | tr -d '"')
	sources=$(apt_sources)
	suite=${OCTO_SUITE:-$(printf '%s\n' "$sources" | pick_suite "$code")}
	sources=$(printf '%s\n' "$sources" | awk -v s="$suite" '$3 == s || $3 == s "-updates" || $3 == s "-security"')
	mirror=$(printf '%s\n' "$sources" | awk -v s="$suite" '$3 == s && $4 == "main" { print $2; exit }')
	if [ -n "${OCTO_MIRROR:-}" ]; then
		mirror=$OCTO_MIRROR
		sources="deb $mirror $suite main"
	fi
	case $mirror in
	http://* | https://* | file:/*) [ -z "$suite" ] || return 0 ;;
	esac
	die "cannot find a Debian or Ubuntu mirror for \"${suite:-$code}\" in the host's apt sources" \
		"Set OCTO_MIRROR to its URL and OCTO_SUITE to its suite."
}

apt_sources() { # "deb URI SUITE COMPONENT" lines, the distribution's own only; apt itself knows both file formats best
	# shellcheck disable=SC2016 # apt puts the values in
	format='$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)'
	# Without downloaded lists apt does not know the origin: then the URI has to look right.
	{ apt-get indextargets --format "$format"; apt-get indextargets --no-release-info --format "$format"; } 2>/dev/null |
		awk '$1 == "Packages" && ($4 == "main" || $4 == "universe") &&
			($5 ~ /^(Debian|Ubuntu|Raspbian)$/ || $5 == "$(ORIGIN)" && $2 ~ /debian|ubuntu|raspbian/) {
				line = "deb " $2 " " $3 " " $4
				if (!seen[line]++) print line
			}'
}

pick_suite() { # CODENAME: it, else the alias that the host follows
	awk -v code="$1" '
		$3 == code { print code; done = 1; exit }
		$3 ~ /^(oldstable|stable|testing|unstable|sid|devel)$/ && !other { other = $3 }
		END { if (!done) print other }'
}

stack_recipe() { # all that decides what the image is like
	echo "$(dpkg --print-architecture) $suite $stack_packages"
	echo "$mirror"
	printf '%s\n' "$sources"
	sha256sum <"$here/setup.d/stack.sh"
	authorities | sha256sum
}

authorities() { # whom the stack trusts: those whom its host trusts, and extra_ca
	cat /etc/ssl/certs/ca-certificates.crt
	[ -z "$extra_ca" ] || { echo && cat -- "$extra_ca"; }
}

stack_is() { # IMAGE: has it been made by this recipe?
	ask_engine "/images/$1/json" 2>/dev/null | grep -qF "\"octo.stack\":\"$tag\""
}

tag_stack() { ask_engine "/images/$1/tag?repo=${2%:*}&tag=${2##*:}" -f -X POST; }

build_stack() {
	# Not /tmp: it may be mounted nodev, and a root file system has devices.
	stack_work=$(mktemp -d /var/tmp/octo-stack.XXXXXX)
	root=$stack_work/root
	prepare_root
	detail "debootstrap: minbase and $stack_packages"
	patiently bootstrap || failed "cannot make the stack: debootstrap failed" \
		"Check that this host reaches $mirror, or set OCTO_MIRROR."
	detail "adding the security updates"
	patiently update_root || warn "cannot get the updates; the stack is as $suite was released"
	detail "adding the user app and the host's certificates"
	patiently finish_root || failed "cannot finish the stack's file system"
	detail "importing it into the engine ($(du -sm "$root" | cut -f1) MB)"
	patiently import_root || failed "cannot import the stack: the engine refused"
	stack_is "$stack" || failed "cannot import the stack: the engine took it, and does not have it"
	tag_stack "$stack" "${stack%:*}:$tag"
	remove_older_stacks
	remove_stack_work
}

prepare_root() { # dpkg leaves out what nobody reads in a container, and need not wait for the disk
	mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
	chmod 755 "$root"
	cat >"$root/etc/dpkg/dpkg.cfg.d/octo" <<-'END'
		force-unsafe-io
		path-exclude=/usr/share/doc/*
		path-include=/usr/share/doc/*/copyright
		path-exclude=/usr/share/man/*
		path-exclude=/usr/share/info/*
		path-exclude=/usr/share/locale/*
	END
}

bootstrap() {
	as=$suite # a release newer than this debootstrap is made like the newest that it knows
	[ -e "/usr/share/debootstrap/scripts/$suite" ] || { grep -q '^ID=ubuntu' /etc/os-release && as=gutsy; } || as=sid
	debootstrap --variant=minbase --include="$stack_packages" "$suite" "$root" "$mirror" \
		"/usr/share/debootstrap/scripts/$as"
}

update_root() {
	printf '%s\n' "$sources" >"$root/etc/apt/sources.list"
	printf '%s\n' "$sources" | awk -v s="$suite" '$3 != s' >"$root/etc/apt/updates.list"
	[ -s "$root/etc/apt/updates.list" ] || return 0
	cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
	set -- -q -y -o Dir::Etc::SourceList=/etc/apt/updates.list -o Dir::Etc::SourceParts=- -o Acquire::Languages=none
	chroot "$root" apt-get "$@" update && chroot "$root" apt-get "$@" upgrade
}

finish_root() {
	printf '%s\n' "$sources" >"$root/etc/apt/sources.list" &&
		printf '%s\n' 'APT::Keep-Downloaded-Packages "false";' 'Acquire::Languages "none";' \
			>"$root/etc/apt/apt.conf.d/octo" &&
		chroot "$root" useradd --uid 1000 --user-group --create-home --home-dir /app --shell /bin/bash app &&
		chroot "$root" python3 -c 'import http.client, socket, json, subprocess' &&
		# In both places: a later update-ca-certificates writes the bundle anew.
		authorities >"$root/etc/ssl/certs/ca-certificates.crt" &&
		find -L /usr/local/share/ca-certificates -name '*.crt' \
			-exec cp -L {} "$root/usr/local/share/ca-certificates/" \; &&
		{ [ -z "$extra_ca" ] || cp -- "$extra_ca" "$root/usr/local/share/ca-certificates/octo-extra.crt"; } &&
		slim_root
}

slim_root() {
	(
		cd -- "$root" || exit
		rm -rf etc/apt/updates.list var/lib/apt/lists/* var/cache/apt/* var/cache/debconf/*-old var/log/* tmp/* \
			debootstrap etc/resolv.conf etc/hostname usr/share/man/* usr/share/info/* usr/share/locale/*
		find usr/share/doc -type f ! -name copyright -delete
		: >etc/machine-id
	)
}

import_root() { # `docker import`, by the API
	ca=/etc/ssl/certs/ca-certificates.crt
	query=$(run_python -c 'import sys; from urllib.parse import quote
print("".join("&changes=" + quote(line) for line in sys.argv[1:]))' \
		"ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8" \
		"ENV SSL_CERT_FILE=$ca PIP_CERT=$ca REQUESTS_CA_BUNDLE=$ca NODE_EXTRA_CA_CERTS=$ca" \
		"LABEL octo.stack=$tag" 'CMD ["bash"]') || return
	{ tar -C "$root" --numeric-owner --sort=name --exclude='./dev/*' -c . || touch "$stack_work/tar-failed"; } |
		ask_engine "/images/create?fromSrc=-&repo=${stack%:*}&tag=${stack##*:}$query" --fail-with-body -X POST -T - \
			-H 'Content-Type: application/x-tar' -H 'Expect:' && [ ! -e "$stack_work/tar-failed" ]
}

remove_older_stacks() { # their names only; the engine keeps what images made of them still need
	ask_engine "/images/json?filters=%7B%22reference%22%3A%5B%22${stack%:*}%22%5D%7D" |
		grep -oE "\"${stack%:*}:[0-9a-f]{12}\"" | tr -d '"' | grep -vF ":$tag" |
		while read -r old; do
			ask_engine "/images/$old" -X DELETE >/dev/null || true
		done
}

remove_stack_work() {
	[ -n "$stack_work" ] || return 0
	awk -v work="$stack_work/" 'index($2, work) == 1 { print $2 }' /proc/mounts | sort -r | while read -r place; do
		umount -l -- "$place"
	done
	rm -rf --one-file-system -- "$stack_work"
	stack_work=''
}
