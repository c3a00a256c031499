#!/bin/sh
# Installs Shipkeeper on this host as a service of systemd, or upgrades it: from the folder above this file, as root.
# Usage: deploy/install.sh [--dry-run] [--python PROGRAM]
#
# Configuration and state stay as they are. A version that does not get ready is taken back, the state included. What is
# fetched are the packages in deploy/requirements*.txt, by pip as it is set up here, each checked against its hash.
set -eu
umask 022
# What this shell sets for other programs: the service finds its bytecode beside its modules, or nowhere.
unset PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX PYTHONHOME PYTHONPATH

base=/opt/shipkeeper
previous=$base/previous
configuration=/etc/shipkeeper
unit=shipkeeper.service
unit_file=/etc/systemd/system/$unit
drop_in=$unit_file.d/gpu.conf
accounts=/etc/sysusers.d/shipkeeper.conf
command=/usr/local/bin/shipkeeper
completions=/usr/local/share
patience=60 # seconds until a daemon that said it is ready has looked at this host

dry=
python=/usr/bin/python3
[ -x "$python" ] || python=python3
while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry=yes ;;
    --python) shift && python=${1:?--python takes a program} ;;
    *) sed -n '2,3s/^# //p' "$0" && exit 2 ;;
    esac
    shift
done
cd "$(dirname "$0")/.."

say() { printf 'install: %s\n' "$1"; }

fail() { # fail WHAT CURE
    printf 'install: %s\n  cure: %s\n' "$1" "$2" >&2
    exit 1
}

act() { # act WORDS COMMAND...: say it, and unless this is a dry run do it
    say "$1"
    shift
    [ -n "$dry" ] || "$@"
}

put() { # put FILE PLACE [OPTION...]: bring a file to its place, if it is not there already
    if ! cmp -s "$1" "$2"; then
        from=$1 to=$2
        shift 2
        act "write $to" install -D -m 644 "$@" "$from" "$to"
    fi
}

is_ready() { # ready is what the daemon says, and that it answers after a first look at this host
    systemctl reset-failed "$unit" 2>/dev/null || true
    systemctl start "$unit" || return 1
    left=$patience
    until "$base/bin/shipkeeper" status >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        systemctl is-active --quiet "$unit" || return 1
        sleep 1
    done
}

point_at() { # point_at RELEASE: from now on this is what the service starts
    ln -sfn "$1/bin" "$base/bin.new"
    mv -T "$base/bin.new" "$base/bin"
}

set_aside() { # keep what is there, to go back to it; it counts once it is whole
    rm -rf "$previous"
    mkdir -m 700 "$previous" "$previous/state"
    readlink "$base/bin" >"$previous/release"
    printf '%s\n' "$state" >"$previous/state_folder"
    for file in "$unit_file" "$drop_in"; do
        [ ! -e "$file" ] || cp -p "$file" "$previous/"
    done
    for file in "$state"/state.db*; do
        [ ! -e "$file" ] || cp -p "$file" "$previous/state/"
    done
    : >"$previous/whole"
}

go_back() { # to what `set_aside` kept
    say "going back to $(basename "$(dirname "$(cat "$previous/release")")"), its state included"
    systemctl stop "$unit" || true
    folder=$(cat "$previous/state_folder")
    rm -f "$folder"/state.db*
    for file in "$previous/state"/*; do
        [ ! -e "$file" ] || cp -p "$file" "$folder/"
    done
    rm -f "$drop_in"
    cp -p "$previous/$unit" "$unit_file"
    [ ! -e "$previous/gpu.conf" ] || cp -p "$previous/gpu.conf" "$drop_in"
    point_at "$(dirname "$(cat "$previous/release")")"
    systemctl daemon-reload
    if is_ready; then
        rm -rf "$previous"
        say "the version from before is at work again"
    else
        say "the version from before does not get ready either: journalctl -u $unit tells why"
    fi
}

build() { # an environment of its own, with nothing in it but what the lock names
    rm -rf "$release"
    mkdir -p "$release"
    "$python" -m venv "$release"
    set -- "$release/bin/python" -m pip --quiet --disable-pip-version-check --no-input install --compile
    "$@" --require-hashes --only-binary :all: --requirement deploy/requirements.txt
    "$@" --require-hashes --only-binary :all: --target "$scratch/build" --requirement deploy/requirements-build.txt
    mkdir "$scratch/source"
    cp -R pyproject.toml README.md LICENSE collectors policies daemon "$scratch/source/"
    PYTHONPATH=$scratch/build "$@" --no-index --no-deps --no-build-isolation "$scratch/source"
    : >"$release/whole"
}

completion() { # completion SHELL FILE: teach a shell the words, if it is there
    ! command -v "$1" >/dev/null || {
        _SHIPKEEPER_COMPLETE=source_$1 "$release/bin/shipkeeper" >"$scratch/completion"
        put "$scratch/completion" "$2"
    }
}

# --- Is everything there? Until the end of this part nothing is changed.

[ -n "$dry" ] || [ "$(id -u)" = 0 ] || fail "this takes root" "sudo $0"
[ -d /run/systemd/system ] || fail "systemd does not run this host" "start \`shipkeeper run\` by what does, or in a container"
found=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
[ "$found" -ge 252 ] || fail "systemd $found is too old for the unit" "Debian 12, Ubuntu 24.04 or later have 252 or later"
getent group docker >/dev/null || fail "there is no group docker, which the unit needs" "install Docker; or groupadd --system docker"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$python is not there, or older than Python 3.11" "deploy/install.sh --python python3.12"
[ -n "$dry" ] || runuser -u nobody -- "$python" -c '' 2>/dev/null ||
    fail "only root may run $python, and the service is not root" "deploy/install.sh --python /usr/bin/python3"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python cannot make environments" "apt-get install python3-venv"
[ -L "$base/bin" ] || [ ! -e "$base/bin" ] || fail "$base/bin is in the way: this did not make it" "move it away"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
digest=$({
    "$python" --version
    find collectors policies daemon pyproject.toml deploy/requirements*.txt -type f ! -name '*.pyc' -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum
} | sha256sum | cut -c1-12)
release=$base/releases/$version-$digest
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# --- An earlier run that was cut off

if [ -e "$previous/whole" ]; then
    say "an earlier run was cut off"
    if [ -n "$dry" ]; then
        say "if what it left gets ready keep that, else go back"
    elif systemctl daemon-reload && is_ready; then
        # It has gone on by itself since, for weeks maybe: what was set aside is older than what it knows.
        say "what it left is at work, and stays"
        rm -rf "$previous"
    else
        go_back
    fi
fi

# --- The program and its account

if [ -e "$release/whole" ]; then
    say "$version-$digest is built already"
else
    act "build $version-$digest in $release" build
fi
put deploy/systemd/shipkeeper.sysusers.conf "$accounts"
getent passwd shipkeeper >/dev/null || act "make the user shipkeeper" systemd-sysusers "$accounts"

# --- The configuration, if there is none

[ -d "$configuration" ] || act "make $configuration" install -d -m 750 -g shipkeeper "$configuration"
[ -e "$configuration/shipkeeper.toml" ] ||
    act "write $configuration/shipkeeper.toml, every key with its default" \
        install -m 640 -g shipkeeper deploy/shipkeeper.toml "$configuration/shipkeeper.toml"

if [ -n "$dry" ] && [ ! -e "$release/whole" ]; then
    say "let it check the configuration, then write $unit_file, start it and wait until it is ready"
    say "this was a dry run: nothing was changed"
    exit 0
fi

mkdir -m 700 "$scratch/credentials" # as systemd will show them to the service
for secret in /etc/credstore/shipkeeper.*; do
    [ ! -e "$secret" ] || ln -s "$secret" "$scratch/credentials/${secret##*/shipkeeper.}"
done
said=$(CREDENTIALS_DIRECTORY=$scratch/credentials STATE_DIRECTORY=/var/lib/shipkeeper "$release/bin/shipkeeper" check-config) ||
    fail "this version refuses the configuration; nothing was started or stopped" "mend it as said above, then try again"
state=$(printf '%s\n' "$said" | sed -n 's/^state  *//p')

# --- The service

cp deploy/systemd/shipkeeper.service "$scratch/$unit"
wanted=$release/bin
if [ "$(readlink "$base/bin" || true)" = "$wanted" ] && cmp -s "$scratch/$unit" "$unit_file" &&
    { [ ! -e /dev/nvidiactl ] || cmp -s deploy/systemd/gpu.conf "$drop_in"; } &&
    systemctl is-active --quiet "$unit"; then
    say "the service runs this version already"
elif [ -n "$dry" ]; then
    say "stop the service if it runs, write $unit_file, start this version and wait until it is ready"
else
    before=
    if [ -e "$base/bin/shipkeeper" ] && [ -e "$unit_file" ]; then
        before=yes
        say "set aside the version from before, with its state in $state"
        trap 'systemctl start "$unit"; rm -rf "$previous" "$scratch"' EXIT
        systemctl stop "$unit"
        set_aside
        trap 'go_back; rm -rf "$scratch"' EXIT
    fi
    put "$scratch/$unit" "$unit_file"
    [ ! -e /dev/nvidiactl ] || put deploy/systemd/gpu.conf "$drop_in"
    point_at "$release"
    systemctl daemon-reload
    systemctl enable --quiet "$unit"
    say "start it"
    if ! is_ready; then
        journalctl --unit "$unit" --lines 20 --no-pager --output cat >&2 || true
        say "this version does not get ready; its last words stand above"
        exit 1 # and with it back to what was before, if there was something
    fi
    trap 'rm -rf "$scratch"' EXIT
    rm -rf "$previous"
    [ -z "$before" ] || say "the version from before is replaced"
fi

# --- What makes it handy

[ "$(readlink "$command" || true)" = "$base/bin/shipkeeper" ] ||
    act "link $command" ln -sfn "$base/bin/shipkeeper" "$command"
completion bash "$completions/bash-completion/completions/shipkeeper"
completion zsh "$completions/zsh/site-functions/_shipkeeper"
completion fish "$completions/fish/vendor_completions.d/shipkeeper.fish"
for old in "$base"/releases/*; do
    [ "$old" = "$release" ] || [ ! -e "$old" ] || act "remove $(basename "$old"), which nothing uses any more" rm -rf "$old"
done
if [ -n "$dry" ]; then
    say "this was a dry run: nothing was changed"
else
    say "done: shipkeeper $version is at work; \`shipkeeper status\` shows what it sees"
fi
