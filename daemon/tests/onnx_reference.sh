#!/usr/bin/env bash
# usage: onnx_reference.sh [COMMAND...]
# Installs the reference packages (onnx, onnxruntime, and two packages that carry models) into a virtual
# environment in a cache folder, once, and runs COMMAND with them; by default the tests that need them.
# CLIPMARK_TEST_CACHE names the cache folder; default ~/.cache/clipmark-tests.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cache=${CLIPMARK_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clipmark-tests}
venv=$cache/python

# The models are MIT (silero-vad) and Apache-2.0 (magika); --no-deps, since only their files are read.
reference=(onnx==1.23.2 onnxruntime==1.32.0 numpy)
carriers=(silero-vad==6.2.3 magika==1.0.3)
stamp=$cache/python.installed
wanted="${reference[*]} ${carriers[*]}"

if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    mkdir -p "$cache"
    python3 -m venv "$venv" || {
        echo "python3 with its venv module is needed (Debian, Ubuntu: apt install python3-venv)" >&2
        exit 1
    }
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${reference[@]}"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "${carriers[@]}"
    echo "$wanted" >"$stamp"
fi

library=$(find "$venv"/lib/python3*/site-packages/onnxruntime/capi -name 'libonnxruntime.so*' | sort | tail -n 1)
[ -n "$library" ] || { echo "the onnxruntime wheel in $venv holds no libonnxruntime.so" >&2; exit 1; }
export CLIPMARK_PYTHON=$venv/bin/python CLIPMARK_ONNXRUNTIME=$library CLIPMARK_REQUIRE_PYTHON=1

cd "$root"
if [ $# -gt 0 ]; then exec "$@"; fi
exec cargo test -p clipmarkd --test onnx_reference --test conformance -- --nocapture
