#!/usr/bin/env bash
# The package end to end under real systemd, in a container: installation, a request over MQTT, upgrade, watchdog,
# kill and resume, reload, a read-only disk, a disk that is full at the start, a broker whose name is known late, the
# sandbox, removal and purging. nspawn.py holds the steps.
#
#   systemd/tests/nspawn.sh BINARY      BINARY: a clipmarkd of this machine's architecture, any profile
#
# Needs root, systemd-nspawn, mmdebstrap, mosquitto and python3 with cbor2. Ends with 77 where no container can be
# booted, and says why. The container's root lies in $CLIPMARK_CACHE.
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=$(realpath "${1:?usage: systemd/tests/nspawn.sh BINARY}")
cache="${CLIPMARK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clipmark}"
export PATH="$cache/venv/bin:$PATH:/usr/sbin:/sbin"
suite=bookworm
say() { echo "nspawn: $*" >&2; }
skip() { say "SKIPPED: $*"; exit 77; }

[ "$(id -u)" = 0 ] || skip "a container needs root"
for program in systemd-nspawn mmdebstrap mosquitto mosquitto_sub python3; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done

packages=systemd,systemd-sysv,dbus,init-system-helpers,procps
tree="$cache/nspawn/$suite-$(sha256sum <<<"$suite $packages" | cut -c1-8)"
if [ ! -e "$tree/.complete" ]; then
    say "building the container's root in $tree"
    # shellcheck source=../../cross/lib/apt.sh
    . cross/lib/apt.sh
    rm -rf "$cache/nspawn"
    mkdir -p "$cache/nspawn"
    architecture=$(dpkg --print-architecture)
    private_apt "$cache/nspawn/apt" "$architecture" $suite $suite-security
    mapfile -t sources < "$cache/nspawn/apt/sources.list"
    mmdebstrap --quiet --variant=essential --architectures="$architecture" --mode=root --format=directory \
        --include="$packages" --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/locale/*' $suite "$tree" "${sources[@]}"
    # The host's network is used as it is.
    systemctl --root="$tree" -q mask systemd-networkd.service systemd-resolved.service systemd-firstboot.service
    echo uninitialized > "$tree/etc/machine-id"
    touch "$tree/.complete"
fi
systemd-nspawn -q --register=no --keep-unit --volatile=overlay -D "$tree" /bin/true 2>/dev/null </dev/null ||
    skip "this machine does not permit a privileged container (systemd-nspawn cannot run /bin/true)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/debs"
CLIPMARK_DEB_VERSION=0.1.0~dev1-1 cross/package.sh "$binary" "$work/debs" --fast
CLIPMARK_DEB_VERSION=0.1.0~dev2-1 cross/package.sh "$binary" "$work/debs" --fast
if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error "$work"/debs/*dev2*.deb
else
    say "lintian is not installed: the package is NOT held against Debian's rules"
fi
say "packages made after $SECONDS s"
PYTHONPATH=cross/lib python3 systemd/tests/nspawn.py "$tree" "$work"
