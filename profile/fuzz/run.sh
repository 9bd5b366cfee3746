#!/usr/bin/env bash
# Fuzzes every decoder that meets bytes from outside, and prints how many inputs each took.
#
#   profile/fuzz/run.sh [EXECUTIONS] [TARGET]...      default: 1,000,000 of each target
#
# libFuzzer with coverage instrumentation on stable Rust, debug assertions and overflow checks on; seeded with the golden
# messages, the captures of boards and the topics of docs/wire.md. What crashes a decoder is kept in profile/fuzz/crashes.
# Afterwards the daemon's own decoders, by daemon/examples/fuzz. Needs a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/../.."
executions="${1:-1000000}"
shift || true
targets=("$@")
all=(topic request-json request-cbor messages-json messages-cbor envelope event profile series histogram plan-toml
    capture sensor-series)
[ ${#targets[@]} -gt 0 ] || targets=("${all[@]}" daemon)

host=$(rustc -vV | sed -n 's/^host: //p')
build="${CLIPMARK_FUZZ_BUILD:-target/fuzz}"
coverage="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
# With a target named, build scripts and macros are not instrumented.
RUSTFLAGS="$coverage" CARGO_BUILD_BUILD_DIR="$build" CARGO_TARGET_DIR="$build" \
    cargo build -q --release --locked --target "$host" --manifest-path profile/fuzz/Cargo.toml
fuzzer="$build/$host/release/clipmark-fuzz"

# In memory where that can be had: one decoder reads files.
work=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)")
trap 'rm -rf "$work"' EXIT
export TMPDIR="$work"

seed() { # TARGET FILE...: the inputs to begin with
    local into="$work/$1"
    mkdir -p "$into"
    shift
    for file in "$@"; do cp "$file" "$into/$(basename "$file")"; done
}
vectors=profile/vectors
seed topic
grep -o 'clipmark/v1/d/orin-7[a-z0-9/]*' docs/wire.md | sort -u | while read -r topic; do
    printf '%s' "$topic" > "$work/topic/$(printf '%s' "$topic" | tr / _)"
done
seed request-json $vectors/messages/v1-request.json
seed request-cbor $vectors/messages/v1-request-packed.cbor
seed messages-json $vectors/messages/*.json
seed messages-cbor
seed envelope $vectors/messages/v1-envelope.cbor
seed event $vectors/messages/v1-event.cbor
seed profile $vectors/v1-profile.cbor $vectors/v1-profile-27-points.cbor
seed series $vectors/v1-series.cbor
seed histogram
seed plan-toml
printf 'models = ["joint"]\nclip_lengths = [8, 16]\nfps = 29.97\nsoak_points = [{ batch_size = 1, clip_length = 16 }]\n' \
    > "$work/plan-toml/plan.toml"
seed capture probes/tests/fixtures/nano_jp4.txt probes/tests/fixtures/rpi5.txt
seed sensor-series

mkdir -p profile/fuzz/crashes
for target in "${targets[@]}"; do
    if [ "$target" = daemon ]; then
        # With the features of a whole build, so that tract is not compiled again with others.
        cargo build -q --locked --workspace --example fuzz
        if ! "${CARGO_TARGET_DIR:-target}/debug/examples/fuzz" "$executions"; then
            echo "$target FAILED; its panic is above" >&2
            exit 1
        fi
        continue
    fi
    log="$work/$target.log"
    if ! CLIPMARK_FUZZ_TARGET="$target" "$fuzzer" -runs="$executions" -seed=1 -max_len=16384 -timeout=20 \
        -rss_limit_mb=1024 -artifact_prefix="profile/fuzz/crashes/$target-" -print_final_stats=1 "$work/$target" 2> "$log"; then
        tail -40 "$log" >&2
        echo "$target FAILED; the input is in profile/fuzz/crashes" >&2
        exit 1
    fi
    awk -v target="$target" '
        /stat::number_of_executed_units/ { units = $2 }
        /stat::average_exec_per_sec/ { rate = $2 }
        /stat::peak_rss_mb/ { rss = $2 }
        /DONE/ { for (i = 1; i < NF; i++) if ($i == "cov:") edges = $(i + 1) }
        END { printf "%-16s %d executions, %d/s, %d edges, %d MB\n", target, units, rate, edges, rss }' "$log"
done
