#!/usr/bin/env bash
# A request by hand: starts a broker and `clipmarkd serve` on this machine, asks for a small run with
# mosquitto_pub, follows it, and prints the decoded profile.
#
#   docs/tour.sh [CLIPMARKD]      default: target/release/clipmarkd
#
# Needs mosquitto, mosquitto-clients, python3 and its package cbor2. Everything lies in a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."
clipmarkd=$(realpath -m "${1:-target/release/clipmarkd}")
[ -x "$clipmarkd" ] || { echo "there is no $clipmarkd; build it: cargo build --release --bin clipmarkd" >&2; exit 1; }
work=$(mktemp -d)
export PATH="$PATH:/usr/sbin"
for program in mosquitto mosquitto_pub mosquitto_sub python3; do
    command -v "$program" >/dev/null || { echo "$program is missing; see the head of this file" >&2; exit 1; }
done
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT

printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" > "$work/mosquitto.conf"
mosquitto -c "$work/mosquitto.conf" 2> "$work/mosquitto.log" &

mkdir -p "$work/state" "$work/models"
cat > "$work/clipmarkd.toml" <<CONFIG
[device]
id = "tour"
state_dir = "$work/state"
[mqtt]
host = "127.0.0.1"
port = $port
[models]
dir = "$work/models"
[spool]
delivery = "puback"
CONFIG
"$clipmarkd" serve --config "$work/clipmarkd.toml" 2> "$work/clipmarkd.log" &

until mosquitto_pub -V 5 -h 127.0.0.1 -p "$port" -t ready -m 1 2>/dev/null; do sleep 0.1; done
topic=clipmark/v1/d/tour
on_broker=(-V 5 -h 127.0.0.1 -p "$port")
echo "--- the device's state, retained on the broker"
mosquitto_sub "${on_broker[@]}" -t "$topic/state" -C 1 -W 30
mosquitto_sub "${on_broker[@]}" -q 1 -t "$topic/up/profile" -C 1 -W 120 -N > "$work/envelope.cbor" &
profile=$!
echo "--- the request"
request='{"models":["temporal"],"clip_lengths":[8,16],"batch_sizes":[1],"iterations":100}'
echo "$request"
# The profile's subscriber must be there first: in this tour nobody keeps what nobody listens to.
sleep 1
mosquitto_pub "${on_broker[@]}" -q 1 -t "$topic/cmd/run/tour-1/req" -m "$request"
wait $profile

echo "--- the profile"
# The Python blocks of docs/wire.md: envelopes to contents, a profile to a table.
block() { awk -v wanted="$1" '/^```python$/ { n++; on = 1; next } /^```$/ { on = 0 } on && n == wanted' docs/wire.md; }
block 1 > "$work/unpack.py"
block 2 > "$work/decode.py"
(cd "$work" && python3 unpack.py envelope.cbor)
python3 "$work/decode.py" "$work/profile-1.cbor"
echo "--- the command's final status, retained on the broker"
mosquitto_sub "${on_broker[@]}" -t "$topic/cmd/run/tour-1/status" -C 1 -W 30
