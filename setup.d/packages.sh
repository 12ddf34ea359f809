# The Debian packages. Sourced by setup.
# shellcheck shell=sh

policy=/usr/sbin/policy-rc.d
saved_policy=$policy.before-octo
held_policy=''
policy_mark='# Written by the octo installer for the time of one apt-get install.'

apt_get() { apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"; }

has() { command -v "$1" >/dev/null 2>&1; }

package_is_in() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

archive_has() { [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]; }

missing_packages() { # [test]: names, one per line. A program counts, wherever it came from.
	[ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
	has curl || echo curl
	has git || echo git
	has ssh-keygen || echo openssh-client
	has nginx || nginx_package
	[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || ! archive_has libnginx-mod-stream || echo libnginx-mod-stream
	has iptables || echo iptables
	has nft || echo nftables
	has ip || echo iproute2
	has lxc-start || echo lxc
	has newuidmap || echo uidmap
	has mkfs.ext4 || echo e2fsprogs
	has debootstrap || echo debootstrap
	has flock || echo util-linux
	find_python >/dev/null || python_packages
	engine_is_installed || echo docker.io
	[ "${1-}" = test ] || return 0
	has shellcheck || echo shellcheck
	has ps || echo procps
	[ -x /usr/sbin/sshd ] || echo openssh-server
	has docker-registry || echo docker-registry
}

nginx_package() { if archive_has nginx-light; then echo nginx-light; else echo nginx; fi; }

engine_is_installed() {
	has dockerd && return
	# Docker's socket may be lent to us by somebody else's dockerd.
	[ -S "${OCTO_ENGINE:-/var/run/docker.sock}" ] && { ! has curl || engine_answers; }
}

client_packages() { # what docker.io is good for, but leaves to packages of their own in newer releases
	has dockerd && ! package_is_in docker.io && return 0
	has docker || ! archive_has docker-cli || echo docker-cli
	buildx_is_there || ! archive_has docker-buildx || echo docker-buildx
}

buildx_is_there() {
	for folder in /usr/local/lib /usr/local/libexec /usr/lib /usr/libexec; do
		[ ! -e "$folder/docker/cli-plugins/docker-buildx" ] || return 0
	done
	return 1
}

install_packages() { # [test]
	step "Looking at the Debian packages"
	has apt-get ||
		die "cannot install packages: this is neither Debian nor Ubuntu" "Use Debian 12 or newer, or Ubuntu 22.04 or newer."
	restore_policy # should an earlier run have been killed
	missing=$(missing_packages "${1-}")
	if [ -n "$missing" ]; then
		detail "reading the package lists"
		# One broken source of somebody else's must not stop us: the install below is what counts.
		patiently apt_get update || warn "apt-get update had complaints; going on with the lists that are there"
		missing=$(missing_packages "${1-}")
	fi
	missing=$(printf '%s\n%s' "$missing" "$(client_packages)" | xargs)
	[ -n "$missing" ] || { detail "all there"; took; return 0; }
	detail "installing $missing"
	# shellcheck disable=SC2086 # a list of names
	install_quietly $missing
	took
}

install_quietly() { # PACKAGE...: without letting them occupy ports 80 and 22, now or at the next boot
	held=''
	for package; do
		case $package in
		nginx | nginx-light) held="$held nginx" ;;
		openssh-server) held="$held ssh" ;;
		lxc) held="$held lxc lxc-net lxc-monitord" ;; # or they make a bridge lxcbr0, with rules and a DHCP server of its own
		consul | */consul_*.deb) held="$held consul" ;; # a test starts its own
		docker-registry) held="$held docker-registry" ;; # likewise
		docker.io) has_systemd || held="$held docker" ;; # start_engine starts it, and `setup stop` stops it
		esac
	done
	# shellcheck disable=SC2086
	hold_services $held
	patiently apt_get install --no-install-recommends "$@" ||
		failed "cannot install $*: apt-get failed" "Look at the lines above, then run this again."
	restore_policy
	for service in $held; do
		disable_service "$service"
	done
}

has_systemd() { [ -d /run/systemd/system ]; }

disable_service() { # NAME: not at the next boot either, it is only here because of us
	case $1 in docker) return 0 ;; esac
	if has systemctl; then
		systemctl disable "$1.service" >/dev/null 2>&1 || true
		[ "$1" != ssh ] || systemctl disable ssh.socket >/dev/null 2>&1 || true
	elif has update-rc.d; then
		update-rc.d "$1" disable >/dev/null 2>&1 || true
	fi
	detail "$1 is installed, and not started as a service"
}

hold_services() { # NAME...: invoke-rc.d and deb-systemd-invoke ask this program before they start a service
	[ $# -gt 0 ] || return 0
	held_policy=1
	[ ! -e "$policy" ] || mv -- "$policy" "$saved_policy"
	cat >"$policy" <<-END
		#!/bin/sh
		$policy_mark
		case " $* " in
		*" \${1%.*} "*) exit 101 ;;
		esac
		[ ! -x "$saved_policy" ] || exec "$saved_policy" "\$@"
		exit 0
	END
	chmod 755 "$policy"
}

restore_policy() {
	if [ -e "$policy" ] && grep -qF "$policy_mark" "$policy"; then
		rm -f -- "$policy"
	fi
	if [ -e "$saved_policy" ] && [ ! -e "$policy" ]; then
		mv -- "$saved_policy" "$policy"
	fi
	held_policy=''
}
