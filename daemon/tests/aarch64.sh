#!/usr/bin/env bash
# usage: aarch64.sh CLIPMARKD
# Holds an aarch64 clipmarkd, e.g. target/dist-artefacts/aarch64/clipmarkd, to the conformance suite's worker half under
# emulation: tract, and TensorRT 8, 10 and 11 over stand-ins that are built here for aarch64. Needs
# qemu-aarch64-static (Debian: qemu-user-static) and aarch64-linux-gnu-gcc (gcc-aarch64-linux-gnu), and
# `rustup target add aarch64-unknown-linux-gnu`.
set -euo pipefail
program=$(realpath "${1:?name the clipmarkd to test}")
cd "$(dirname "$0")/../.."
target=aarch64-unknown-linux-gnu
sysroot=/usr/aarch64-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

packages=()
for stand_in in cuda nvinfer8 nvinfer10 nvinfer11; do packages+=(-p "clipmark-fake-$stand_in"); done
cargo build --locked --target "$target" "${packages[@]}" --message-format json |
    python3 -c 'import json, sys
for line in sys.stdin:
    for name in json.loads(line).get("filenames", []):
        if name.endswith(".so"):
            print(name)' >"$scratch/built"
xargs -a "$scratch/built" cp -t "$scratch"

# `exec`, so that the worker keeps the process id that its parent knows.
printf '#!/bin/sh\nexec qemu-aarch64-static -L %s %q "$@"\n' "$sysroot" "$program" >"$scratch/clipmarkd"
chmod +x "$scratch/clipmarkd"
# The emulator has no Landlock, so that no file is closed to a worker.
CLIPMARK_TEST_PROGRAM="$scratch/clipmarkd" CLIPMARK_FAKES_DIR="$scratch" \
    cargo test --locked --workspace --test conformance -- worker:: --nocapture \
    --skip weights_beside_the_model_are_read_where_they_were_opened
