#!/usr/bin/env bash
# Prints shell assignments for a Rust toolchain that can build for aarch64-unknown-linux-gnu:
#
#   eval "$(cross/toolchain.sh)"
#
# rustup's own target is used where rustup has it or can fetch it. Where its servers cannot be reached, a
# rustc with both standard libraries is unpacked from Debian's packages into $CLIPMARK_CACHE; nothing is
# installed system-wide and cargo stays the one on PATH. What was chosen is said on standard error.
# CLIPMARK_TOOLCHAIN=debian forces the fallback.
set -euo pipefail
target=aarch64-unknown-linux-gnu
cache="${CLIPMARK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clipmark}"
here=$(cd "$(dirname "$0")" && pwd)
say() { echo "toolchain: $*" >&2; }

msrv=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
check_version() { # RUSTC DESCRIPTION
    local version
    version=$("$1" --version | cut -d' ' -f2)
    if [ "$(printf '%s\n' "$msrv" "$version" | sort -V | head -1)" != "$msrv" ]; then
        say "$1 is $version, but clipmark needs $msrv or later; update it (rustup update)"
        exit 1
    fi
    say "$2 ($version)"
}

forced=${CLIPMARK_TOOLCHAIN:-}
if [ "$forced" != debian ] && [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
    check_version rustc "rustc with the $target standard library already installed"
    exit 0
fi
if [ "$forced" != debian ] && command -v rustup >/dev/null &&
    timeout 120 rustup -q target add "$target" >/dev/null 2>&1; then
    check_version rustc "rustc with rustup's $target"
    exit 0
fi

say "rustup cannot provide $target here; falling back to Debian's rustc-web"
root="$cache/rustc-web"
if [ ! -e "$root/.done" ]; then
    # shellcheck source=lib/apt.sh
    . "$here/lib/apt.sh"
    rm -rf "$root"
    mkdir -p "$root/debs"
    private_apt "$root/apt" "amd64 arm64" bookworm bookworm-security
    minor=$(apt_show rustc-web:amd64 Version | cut -d. -f1,2)
    llvm=$(apt_show "libstd-rust-web-$minor:amd64" Depends | grep -o 'libllvm[0-9]*' | head -1)
    apt_download "$root/debs" rustc-web:amd64 "libstd-rust-web-$minor:amd64" libstd-rust-web-dev:amd64 \
        libstd-rust-web-dev:arm64 "$llvm:amd64" libedit2:amd64 libz3-4:amd64 libbsd0:amd64 libmd0:amd64
    for deb in "$root"/debs/*.deb; do dpkg-deb -x "$deb" "$root/tree"; done
    cat > "$root/rustc" <<WRAPPER
#!/bin/sh
export LD_LIBRARY_PATH="$root/tree/usr/lib/x86_64-linux-gnu\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec "$root/tree/usr/bin/rustc" "\$@"
WRAPPER
    chmod +x "$root/rustc"
    rm -rf "$root/debs" "$root/apt"
    touch "$root/.done"
fi
check_version "$root/rustc" "Debian's rustc-web"
echo "export RUSTC='$root/rustc'"
