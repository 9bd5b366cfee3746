#!/usr/bin/env bash
# The linker of what is shipped, called by rustc: cross/build.sh names it.
#
# zig links first, for its glibc floor. Then LLD links the same again with identical functions folded (--icf=all),
# an option that zig does not pass on: tract's operators are compiled for every element type, and much of it comes
# out the same. Rust does not promise that functions have addresses of their own, so folding is safe; zig's result
# stays where LLD is missing or fails, which is said.
#
#   CLIPMARK_TRIPLE    the target's triple; CARGO_TARGET_<TRIPLE>_LINKER, set by cargo-zigbuild, names zig's linker
set -euo pipefail
variable="CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"${CLIPMARK_TRIPLE:?is set by cross/build.sh}")_LINKER"
told=$(mktemp)
trap 'rm -f "$told"' EXIT
say() { echo "link: $*" >&2; }

# zig drops all symbols at this one. The binary in the target directory keeps them, for core dumps and profilers;
# cross/build.sh strips what is shipped.
given=()
for argument in "$@"; do [ "$argument" = -Wl,--strip-debug ] || given+=("$argument"); done
if ! ZIG_VERBOSE_LINK=1 "${!variable:?is set by cargo-zigbuild}" "${given[@]}" 2>"$told"; then
    cat "$told" >&2
    exit 1
fi

lld=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
if [ -x "$lld" ]; then
    lld=("$lld" -flavor gnu)
elif command -v ld.lld >/dev/null; then
    lld=(ld.lld)
else
    say "neither rustup's rust-lld nor ld.lld is installed: identical functions are NOT folded, the binary is larger"
    exit 0
fi

# zig tells the command without quotes: with a space in a path it cannot be repeated.
read -ra arguments < <(sed -n 's/^ld\.lld //p' "$told" | tail -1)
if [ ${#arguments[@]} -eq 0 ] || ! "${lld[@]}" "${arguments[@]}" --icf=all 2>"$told"; then
    say "LLD could not repeat zig's link: $(head -c 500 "$told")"
    exit 1
fi
