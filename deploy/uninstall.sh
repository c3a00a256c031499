#!/bin/sh
# Removes from this host what deploy/install.sh brought, as root. Configuration, state and account stay, unless --purge.
# Usage: deploy/uninstall.sh [--dry-run] [--purge]
set -eu

unit=shipkeeper.service
dry=
purge=
for option; do
    case $option in
    --dry-run) dry=yes ;;
    --purge) purge=yes ;;
    *) sed -n '2,3s/^# //p' "$0" && exit 2 ;;
    esac
done

act() { # act WORDS COMMAND...: say it, and unless this is a dry run do it
    printf 'uninstall: %s\n' "$1"
    shift
    [ -n "$dry" ] || "$@"
}

away() { # away PLACE...: remove these, as far as they are there
    for place; do
        [ ! -e "$place" ] && [ ! -L "$place" ] || act "remove $place" rm -rf "$place"
    done
}

if [ -z "$dry" ] && [ "$(id -u)" != 0 ]; then
    printf 'uninstall: this takes root\n  cure: sudo %s\n' "$0" >&2
    exit 1
fi

[ ! -e "/etc/systemd/system/$unit" ] || act "stop the service" systemctl disable --now --quiet "$unit"
away "/etc/systemd/system/$unit" "/etc/systemd/system/$unit.d/gpu.conf" "/etc/systemd/system/$unit.d/kernel-log.conf"
act "let systemd forget it" systemctl daemon-reload
away /opt/shipkeeper /usr/local/bin/shipkeeper /usr/local/share/bash-completion/completions/shipkeeper \
    /usr/local/share/zsh/site-functions/_shipkeeper /usr/local/share/fish/vendor_completions.d/shipkeeper.fish
if [ -n "$purge" ]; then
    away /etc/shipkeeper /var/lib/shipkeeper /etc/sysusers.d/shipkeeper.conf "/etc/systemd/system/$unit.d"
    for secret in /etc/credstore/shipkeeper.*; do
        away "$secret"
    done
    ! getent passwd shipkeeper >/dev/null || act "remove the user shipkeeper" userdel shipkeeper
    ! getent group shipkeeper >/dev/null || act "remove the group shipkeeper" groupdel shipkeeper
else
    printf 'uninstall: /etc/shipkeeper, drop-ins of yours, /var/lib/shipkeeper and the user shipkeeper stay; --purge removes them, too\n'
fi
[ -z "$dry" ] || printf 'uninstall: this was a dry run: nothing was changed\n'
