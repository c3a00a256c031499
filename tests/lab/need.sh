#!/bin/sh
# Installs the Debian packages behind commands that are missing here; without root it prints the one line to type.
# Usage: need.sh setup | need.sh lab | need.sh slow
set -eu
missing=

need() { # need PACKAGE COMMAND...: the package is wanted unless the command succeeds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

case $1 in
setup) need python3-venv "${PYTHON:-python3}" -c 'import ensurepip, venv' ;;
lab)
    need e2fsprogs command -v mkfs.ext4
    need mount command -v losetup
    need util-linux command -v nsenter
    need openssl command -v openssl
    need systemd-container command -v systemd-nspawn
    need systemd-sysv test -e /sbin/init
    need dbus command -v dbus-daemon
    need gcc command -v gcc
    need libc6-dev test -e /usr/include/stdio.h
    ;;
slow)
    need mmdebstrap command -v mmdebstrap
    need qemu-system-x86 command -v qemu-system-x86_64
    need zstd command -v zstd
    need xz-utils command -v xz
    need cpio command -v cpio
    need rsync command -v rsync
    ;;
esac

[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "setup: this machine lacks:$missing (names of Debian packages); install them, then try again" >&2
    exit 1
fi
install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" != 0 ]; then
    echo "setup: some packages are missing; type this, then try again: sudo $install" >&2
    exit 1
fi
echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# a fresh machine has no package lists yet
$install -qq >/dev/null 2>&1 || { apt-get update -qq && $install -qq >/dev/null; }
