#!/usr/bin/env bash
# Builds what is shipped: the binary, its Debian package, a CycloneDX list of what it is made of, SHA-256 sums.
#
#   cross/build.sh            for every target
#   cross/build.sh aarch64    for Jetson-class boards: glibc 2.27 and later, JetPack 4.6 to 7
#   cross/build.sh x86_64     for PCs
#
# The result lies in target/dist-artefacts/TARGET. docs/decisions/0005-what-is-shipped.md says why it is built so.
set -euo pipefail
cd "$(dirname "$0")/.."
here=cross
cache="${CLIPMARK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clipmark}"
mkdir -p "$cache"
export CLIPMARK_CACHE="$cache" PATH="$cache/tools/bin:$cache/zig/bin:$PATH"
target_dir="${CARGO_TARGET_DIR:-target}"
floor=2.27
# Bytes; daemon/proof/budget.toml has the same.
binary_limit=20000000

# Nothing unwinds (panic = "abort"): no tables for it are made, and those of precompiled code are left out. Paths of
# the machine that builds do not belong into the binary.
rust_flags=(
    -C force-unwind-tables=no
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=crates"
    "--remap-path-prefix=$PWD=."
)
# With LLVM's own limits the binary is larger than it may be; x86_64 code takes more room and needs narrower ones.
declare -A llvm_limits=(
    [aarch64]="-inlinedefault-threshold=50"
    [x86_64]="-inlinedefault-threshold=12 -unroll-threshold=50 -unswitch-threshold=10 -vectorize-slp=false"
)

say() { echo "build: $*" >&2; }

case $PWD in
*\ *) say "the path $PWD has a space, which rustc's flags and zig's cannot carry; build in another folder"; exit 2 ;;
esac

tools() {
    if ! command -v cargo-zigbuild >/dev/null || ! "$cache/zig/bin/python" -c 'import ziglang' 2>/dev/null; then
        say "installing zig and cargo-zigbuild into $cache/zig"
        python3 -m venv "$cache/zig"
        "$cache/zig/bin/pip" install -q --disable-pip-version-check ziglang==0.17.1 cargo-zigbuild==0.24.0
    fi
}

# The highest glibc symbol version that a binary needs.
glibc_needed() {
    objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -1
}

# Without its symbols; the binary with them stays in the target directory, for looking at a core dump.
stripped() { # NAME FROM TO
    local strip=strip
    [ "$1" = "$(uname -m)" ] || strip=$1-linux-gnu-strip
    if ! command -v "$strip" >/dev/null; then
        say "$strip is missing; please run:  sudo apt-get install binutils-$(tr _ - <<<"$1")-linux-gnu"
        exit 1
    fi
    "$strip" -o "$3" "$2"
}

# The components that go into the binary, as CycloneDX 1.3 JSON. cargo-cyclonedx writes one file into each crate.
components() { # TRIPLE FILE
    if ! command -v cargo-cyclonedx >/dev/null; then
        say "installing cargo-cyclonedx into $cache/tools"
        cargo install -q --locked --root "$cache/tools" cargo-cyclonedx@0.5.9
    fi
    local name=clipmark-components crates
    cargo cyclonedx -q --manifest-path daemon/Cargo.toml --format json --target "$1" --override-filename $name
    sed "s#$PWD#.#g" "daemon/$name.json" > "$2"
    mapfile -t crates < <(cargo metadata --format-version 1 --no-deps --locked |
        python3 -c 'import json, sys; [print(p["manifest_path"]) for p in json.load(sys.stdin)["packages"]]')
    for crate in "${crates[@]}"; do rm -f "$(dirname "$crate")/$name.json"; done
}

build() { # NAME TRIPLE
    local name=$1 triple=$2 out="$target_dir/dist-artefacts/$1" needed size
    if [ "$name" = aarch64 ]; then eval "$("$here/toolchain.sh")"; fi
    say "$triple, glibc $floor and later"
    local variable="CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$triple")_RUSTFLAGS"
    local flags="${!variable:-} ${rust_flags[*]}" limit
    for limit in ${llvm_limits[$name]}; do flags+=" -C llvm-args=$limit"; done
    export "$variable=$flags" CLIPMARK_TRIPLE=$triple
    # The level of the last crate is the one at which the linked whole is optimised: below 2, nothing of it would be
    # vectorised, the kernels included. The other crates' levels are in Cargo.toml.
    cargo-zigbuild rustc --locked --profile dist --target "$triple.$floor" -p clipmarkd --bin clipmarkd -- \
        -C opt-level=2 -C linker-flavor=gcc -C "linker=$PWD/cross/link.sh" \
        -C "link-arg=-Wl,-T,$PWD/cross/lib/no-unwind.ld"
    mkdir -p "$out"
    stripped "$name" "$target_dir/$triple/dist/clipmarkd" "$out/clipmarkd"
    needed=$(glibc_needed "$out/clipmarkd")
    size=$(stat -c %s "$out/clipmarkd")
    say "clipmarkd: $size bytes, needs glibc $needed"
    if [ "$(printf '%s\n' "$needed" "$floor" | sort -V | tail -1)" != "$floor" ]; then
        say "clipmarkd needs glibc $needed, above the floor of $floor: objdump -T names the symbols"
        exit 1
    fi
    if [ "$size" -gt "$binary_limit" ]; then
        say "clipmarkd is larger than $binary_limit bytes"
        exit 1
    fi
    rm -f "$out"/*.deb
    "$here/package.sh" "$out/clipmarkd" "$out"
    if command -v lintian >/dev/null; then
        lintian --allow-root --fail-on error "$out"/*.deb
    else
        say "lintian is not installed: the package is NOT held against Debian's rules"
    fi
    components "$triple" "$out/clipmarkd.cdx.json"
    (cd "$out" && sha256sum clipmarkd ./*.deb clipmarkd.cdx.json > SHA256SUMS)
    say "artefacts in $out"
}

name=${1:-all}
case $name in
-h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
all | aarch64 | x86_64) ;;
*) say "unknown target '$name': choose aarch64 or x86_64"; exit 2 ;;
esac
tools
for known in aarch64 x86_64; do
    [ "$name" = all ] || [ "$name" = "$known" ] || continue
    build "$known" "$known-unknown-linux-gnu"
done
