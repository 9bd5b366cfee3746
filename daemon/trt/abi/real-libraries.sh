#!/usr/bin/env bash
# Tries clipmark's binding on NVIDIA's real libraries, on a machine without an NVIDIA driver:
#   1. each library is opened and its version read;
#   2. without a driver the attempt ends in one error, before TensorRT is touched;
#   3. with a stand-in for the driver in front, TensorRT itself is asked for a runtime: whatever it returns, null,
#      an address that is no object or a real object, must end in an answer and never in a crash;
#   4. a confined worker of clipmarkd (docs/security.md) gets the same answer as one without walls.
# Downloads about 640 MB from PyPI into a cache, so it is no part of the everyday tests.
#
#   daemon/trt/abi/real-libraries.sh [CACHE]      default: ${CLIPMARK_CACHE:-~/.cache/clipmark}/tensorrt
set -euo pipefail
cd "$(dirname "$0")/../../.."
cache=${1:-${CLIPMARK_CACHE:-$HOME/.cache/clipmark}/tensorrt}
mkdir -p "$cache"

# package, version, pip's --python-version, where the wheel keeps the library, the name it is opened by
wheels=(
    "tensorrt 8.5.2.2 3.10 tensorrt/libnvinfer.so.8 libnvinfer.so.8"
    "tensorrt-lean-cu12-libs 10.16.1.11 3.12 tensorrt_lean_libs/libnvinfer_lean.so.10 libnvinfer.so.10"
    "tensorrt-lean-cu12-libs 11.4.0.106 3.12 tensorrt_lean_libs/libnvinfer_lean.so.11 libnvinfer.so.11"
)

fetch() { # PACKAGE VERSION PYTHON LIBRARY NAME: prints the folder that holds NAME
    local folder="$cache/$1-$2"
    if [ ! -e "$folder/$5" ]; then
        mkdir -p "$folder"
        python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: \
            --python-version "$3" --platform manylinux_2_17_x86_64 --platform manylinux_2_28_x86_64 \
            -d "$folder" "$1==$2" >&2
        python3 -m zipfile -e "$folder"/*.whl "$folder" >&2
        rm "$folder"/*.whl
        ln -sf "$4" "$folder/$5"
    fi
    echo "$folder"
}

[ "$(uname -m)" = x86_64 ] || { echo "these wheels are for x86_64; this is $(uname -m)" >&2; exit 1; }
if ldconfig -p | grep -q 'libcuda\.so\.1'; then
    echo "this machine has an NVIDIA driver: the no-driver path cannot be tried here" >&2
    exit 1
fi
cargo build -q -p clipmark-trt --example probe
cargo build -q -p clipmark-fake-cuda
cargo build -q -p clipmarkd --bin clipmarkd --example backend_check
probe=target/debug/examples/probe
driver=$(mktemp -d)
trap 'rm -rf "$driver"' EXIT
cp target/debug/libfake_cuda.so "$driver/libcuda.so.1"
: > "$driver/fake.conf"

failures=0
expect() { # WHAT PATTERN TEXT
    if grep -qE "$2" <<<"$3"; then echo "  ok      $1"; else echo "  FAILED  $1 (wanted: $2)"; failures=$((failures + 1)); fi
}
for wheel in "${wheels[@]}"; do
    read -r package version python library name <<<"$wheel"
    folder=$(fetch "$package" "$version" "$python" "$library" "$name")
    echo "$package $version"
    answer=$("$probe" "$folder" 2>&1) || { echo "  FAILED  the probe died: exit $?"; failures=$((failures + 1)); continue; }
    sed 's/^/    /' <<<"$answer"
    expect "version word read" "^version: ${version%.*}$" "$answer"
    expect "without a driver: one error that names it" '^unusable: .*libcuda\.so\.1' "$answer"
    answer=$("$probe" "$folder" "$driver" 2>&1) || { echo "  FAILED  the probe died: exit $?"; failures=$((failures + 1)); continue; }
    sed -n 's/^u/    u/p' <<<"$answer"
    expect "TensorRT without a real driver: an answer, no crash" '^(un)?usable: ' "$answer"
    both=$(mktemp -d)
    cp -s "$folder"/*.so* "$both"
    cp "$driver"/* "$both"
    for policy in off required; do
        answer=$(CLIPMARK_TENSORRT_DIR="$both" target/debug/examples/backend_check tensorrt "$policy" 2>&1) || true
        echo "    $policy: $answer"
        [ "$policy" = off ] && open=$answer
    done
    rm -r "$both"
    expect "a confined worker: the same answer" "^$(printf %s "$open" | sed 's/[][\.*^$+?(){}|/]/\\&/g')$" "$answer"
done
[ "$failures" = 0 ] && echo "all real-library checks passed" || { echo "$failures checks failed"; exit 1; }
