#!/usr/bin/env bash
# A request by hand: a broker and `clipmarkd serve` on this machine, a small run asked for with mosquitto_pub, and the
# profile that comes back, decoded in Python.
#
#   docs/tour.sh [CLIPMARKD]      default: target/release/clipmarkd
#
# Needs mosquitto, mosquitto-clients 2, python3 and its package cbor2. Everything lies in a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin"
clipmarkd=$(realpath -m "${1:-target/release/clipmarkd}")
missing() { echo "$1 is missing; $2" >&2; exit 1; }
[ -x "$clipmarkd" ] || missing "$clipmarkd" "build it: cargo build --release --bin clipmarkd"
for program in mosquitto mosquitto_pub python3; do
    command -v "$program" >/dev/null || missing "$program" "sudo apt install mosquitto mosquitto-clients python3"
done
python3 -c 'import cbor2' 2>/dev/null || missing "the Python package cbor2" "pip install cbor2"
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT

echo "--- a broker and the daemon start"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" > "$work/mosquitto.conf"
mosquitto -c "$work/mosquitto.conf" 2> "$work/mosquitto.log" &
broker_process=$!
# Nobody here sends receipts, so the broker's acknowledgement has to do.
cat > "$work/clipmarkd.toml" <<CONFIG
device.id = "tour"
device.state_dir = "$work/state"
mqtt.host = "127.0.0.1"
mqtt.port = $port
models.dir = "$work"
spool.delivery = "puback"
CONFIG
"$clipmarkd" serve --config "$work/clipmarkd.toml" 2> "$work/clipmarkd.log" &

broker=(-V 5 -h 127.0.0.1 -p "$port" -q 1)
topic=clipmark/v1/d/tour
# From the first subscription on, the broker keeps profiles for the client `reader` until it comes for them.
reader=(mosquitto_sub "${broker[@]}" -c -i reader -x 600 -t "$topic/up/profile")
until "${reader[@]}" -E 2>/dev/null; do
    kill -0 $broker_process || { cat "$work/mosquitto.log" >&2; exit 1; }
    sleep 0.1
done

echo "--- the device's state, retained on the broker"
mosquitto_sub "${broker[@]}" -t "$topic/state" -C 1 -W 30

echo "--- the request"
request='{"models":["temporal"],"clip_lengths":[8,16],"batch_sizes":[1],"iterations":100}'
echo "$request"
mosquitto_pub "${broker[@]}" -t "$topic/cmd/run/tour-1/req" -m "$request"

echo "--- the profile, by the two Python blocks of docs/wire.md: envelopes to contents, a profile to a table"
"${reader[@]}" -C 1 -W 120 -N > "$work/envelope.cbor"
block() { awk -v wanted="$1" '/^```python$/ { n++; on = 1; next } /^```$/ { on = 0 } on && n == wanted' docs/wire.md; }
block 1 > "$work/unpack.py"
block 2 > "$work/decode.py"
(cd "$work" && python3 unpack.py envelope.cbor && python3 decode.py profile-1.cbor)

echo "--- the command's final status, retained on the broker"
mosquitto_sub "${broker[@]}" -t "$topic/cmd/run/tour-1/status" -C 1 -W 30
