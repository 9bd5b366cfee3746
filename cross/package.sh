#!/usr/bin/env bash
# Makes the Debian package from a binary that exists.
#
#   cross/package.sh BINARY OUT_DIR [CARGO_DEB_OPTION...]      prints the package's path
#
# The architecture is the binary's. The version is that of Cargo.toml; between releases it is
# 0.1.0~devDATE.COMMIT, which sorts by the commit's time and before the release. Manual pages and completions
# come from the binary itself, a foreign one run by qemu-user. What is missing is named or installed.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:?usage: cross/package.sh BINARY OUT_DIR}")
mkdir -p "${2:?usage: cross/package.sh BINARY OUT_DIR}"
out=$(realpath "$2")
cache="${CLIPMARK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clipmark}"
export PATH="$cache/tools/bin:$PATH"
cargo_deb_version=3.8.0
say() { echo "package: $*" >&2; }

machine() {
    readelf -h "$1" | sed -n 's/^ *Machine: *//p'
}

case $(machine "$binary") in
*X86-64*) target=x86_64-unknown-linux-gnu ;;
AArch64) target=aarch64-unknown-linux-gnu ;;
*) say "$binary is for '$(machine "$binary")'; a package is made for x86_64 and aarch64"; exit 2 ;;
esac

version() {
    local release commit date
    release=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
    if ! commit=$(git rev-parse --short=8 HEAD 2>/dev/null); then
        echo "$release~dev0-1"
    elif git describe --exact-match --match "v$release" HEAD >/dev/null 2>&1; then
        echo "$release-1"
    else
        date=$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d%H%M%S)
        echo "$release~dev$date.$commit-1"
    fi
}

changelog() { # VERSION
    local date
    date=$(git log -1 --format=%cD 2>/dev/null || date -R)
    printf 'clipmarkd (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md of this version.\n\n' "$1"
    printf ' -- clipmark developers <clipmark@users.noreply.github.com>  %s\n' "$date"
}

manual() { # BINARY DIR: runs it, a foreign one by qemu-user
    if [ "${target%%-*}" = "$(uname -m)" ]; then
        "$1" manual "$2"
    elif command -v qemu-aarch64-static >/dev/null && [ -d /usr/aarch64-linux-gnu ]; then
        qemu-aarch64-static -L /usr/aarch64-linux-gnu "$1" manual "$2"
    else
        say "this machine cannot run $1 to make its manual; sudo apt-get install qemu-user-static libc6-arm64-cross"
        exit 1
    fi
}

if ! command -v cargo-deb >/dev/null; then
    say "installing cargo-deb $cargo_deb_version into $cache/tools"
    nice cargo install -q --locked --root "$cache/tools" --no-default-features "cargo-deb@$cargo_deb_version"
fi
stage=target/package
rm -rf "$stage"
mkdir -p "$stage"
cp "$binary" "$stage/clipmarkd"
if readelf -S "$stage/clipmarkd" | grep -q '\.symtab'; then
    strip=strip
    [ "$target" = x86_64-unknown-linux-gnu ] || strip=aarch64-linux-gnu-strip
    $strip "$stage/clipmarkd"
fi
manual "$stage/clipmarkd" "$stage/manual"
version=${CLIPMARK_DEB_VERSION:-$(version)}
changelog "$version" > "$stage/changelog"
cargo deb -q -p clipmarkd --no-build --no-strip --target "$target" --deb-version "$version" -o "$out" "${@:3}"
