"""The operator's side of an end-to-end test: a broker, requests, and what a device publishes, decoded.

Everything goes through the programs that an operator has, mosquitto, mosquitto_pub and mosquitto_sub; profiles are
decoded with cbor2 by the rules of docs/wire.md. Times passed to `wait` only bound a failing test.
"""

import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import cbor2

FINAL = {"successful", "failed", "canceled", "rejected", "timed_out"}
POINT_STATUS = ["measured", "dominated", "interrupted", "not run", "failed"]
THROTTLE_CAUSE = ["thermal", "over_current", "power_mode_cap", "memory_clock", "cpu_clock", "gpu_clock", "unexplained"]


class Timeout(AssertionError):
    """What was waited for did not come."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def column(data, count):
    """One number of every point; None where a point has none (docs/wire.md)."""
    if data is None:
        return [None] * count
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            n = value - 1
            numbers.append(None if n < 0 else (n >> 1) ^ -(n & 1))
            value, shift = 0, 0
    return numbers * count if len(numbers) == 1 else numbers


def energy(fields):
    """Mean power in mW, energy per frame in uJ and the window in ms of key 14 or 15 of a soak."""
    if fields is None:
        return None
    return {"mean_power_mw": fields[0] / 1000, "gross_per_frame_uj": fields[1] / 1000, "window_ms": fields[5]}


def soak(fields):
    throttles = [
        {"onset_ms": one[0], "recovery_ms": one.get(1), "cause": THROTTLE_CAUSE[one[2]], "slowdown": one[3] / 1e6,
         "evidence": one[4]}
        for one in fields[7]
    ]
    return {
        "duration_ms": fields[1], "inferences": fields[2], "aborted": fields.get(3), "throttles": throttles,
        "burst_frames_per_s": fields[8] / 1000 if 8 in fields else None,
        "sustained_frames_per_s": fields[9] / 1000 if 9 in fields else None, "time_to_throttle_ms": fields.get(12),
        "energy": energy(fields.get(14)), "sustained_energy": energy(fields.get(15)),
        "peak_celsius": {name: value / 1000 for name, value in fields[16]}, "remarks": fields[17],
    }


def profile(content):
    """The parts of a profile that the tests look at."""
    fields = cbor2.loads(content)
    assert fields[0] == 1, f"profile version {fields[0]}"
    points = fields[7]
    count = points[0]
    columns = {name: column(points[2].get(axis), count) for name, axis in [("batch", 0), ("clip", 1)]}
    columns |= {name: column(points[3].get(key), count) for name, key in
                [("status", 4), ("iterations", 6), ("p50", 8), ("beyond_p50", 9), ("power_mw", 29)]}
    rows = [{name: values[index] for name, values in columns.items()} for index in range(count)]
    for row in rows:
        row["status"] = POINT_STATUS[row["status"]]
    for note in fields[8]:
        rows[note[0]]["failure"] = note[3][2] if 3 in note else None
    return {"environment": fields[3], "points": rows, "soaks": [soak(one) for one in fields[12]],
            "idle_power_mw": fields[13] / 1000 if 13 in fields else None, "warnings": fields[16], "size": len(content)}


class Operator:
    """A broker on a free port of the loopback, with one subscriber that keeps every message."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.port = free_port()
        self.seen = []
        self.arrived = threading.Condition()
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence false"]
        if os.geteuid() == 0:
            lines.append("user root")
        config = self.folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
        log = open(self.folder / "mosquitto.log", "w")
        self.broker = subprocess.Popen(["mosquitto", "-c", config], stderr=log, env=environment)
        self._until_listening()
        command = ["mosquitto_sub", *self._to_broker(), "-q", "1", "-t", "clipmark/v1/#", "-F", "%t %x"]
        self.subscriber = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._keep, daemon=True).start()

    def _to_broker(self):
        return ["-V", "5", "-h", "127.0.0.1", "-p", str(self.port)]

    def _until_listening(self):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            ping = ["mosquitto_pub", *self._to_broker(), "-t", "ready", "-m", "1"]
            if subprocess.run(ping, stderr=subprocess.DEVNULL).returncode == 0:
                return
        raise Timeout(f"mosquitto does not listen: {(self.folder / 'mosquitto.log').read_text()}")

    def _keep(self):
        for line in self.subscriber.stdout:
            topic, _, payload = line.strip().partition(" ")
            with self.arrived:
                self.seen.append((topic, bytes.fromhex(payload)))
                self.arrived.notify_all()

    def close(self):
        for process in (self.subscriber, self.broker):
            process.terminate()
            process.wait()

    def mark(self):
        """A place in the stream of messages, for `wait`."""
        with self.arrived:
            return len(self.seen)

    def wait(self, what, match, seconds, since=0):
        """The first non-None `match(topic, payload)` over the messages from `since` on."""
        until = time.monotonic() + seconds
        at = since
        with self.arrived:
            while True:
                while at < len(self.seen):
                    found = match(*self.seen[at])
                    at += 1
                    if found is not None:
                        return found
                left = until - time.monotonic()
                if left <= 0:
                    last = [f"{topic} {payload[:200]!r}" for topic, payload in self.seen[-5:]]
                    raise Timeout(f"{what} did not come within {seconds} s; the last messages:\n" + "\n".join(last))
                self.arrived.wait(left)

    def wait_state(self, device, states, seconds, since=0):
        """The device's state, once it is one of `states`."""
        def match(topic, payload):
            if topic != f"clipmark/v1/d/{device}/state":
                return None
            state = json.loads(payload)
            return state if state["state"] in states else None
        return self.wait(f"{device} being {' or '.join(sorted(states))}", match, seconds, since)

    def request(self, device, command, body):
        """Asks the device for a run; gives the place in the stream from which answers count."""
        here = self.mark()
        topic = f"clipmark/v1/d/{device}/cmd/run/{command}/req"
        publish = ["mosquitto_pub", *self._to_broker(), "-q", "1", "-t", topic, "-m", json.dumps(body)]
        subprocess.run(publish, check=True)
        return here

    def wait_status(self, device, command, states, seconds, since=0):
        """The command's status, once it is one of `states`; another final state fails at once."""
        def match(topic, payload):
            if topic != f"clipmark/v1/d/{device}/cmd/run/{command}/status":
                return None
            status = json.loads(payload)
            if status["state"] in states:
                return status
            assert status["state"] not in FINAL, f"{command}: {status}"
            return None
        return self.wait(f"{command} being {' or '.join(sorted(states))}", match, seconds, since)

    def wait_profile(self, device, command, seconds, since=0):
        """The command's profile, decoded."""
        parts = {}

        def match(topic, payload):
            if topic != f"clipmark/v1/d/{device}/up/profile":
                return None
            envelope = cbor2.loads(payload)
            if envelope.get(6) != command:
                return None
            parts[envelope[4]] = envelope[8]
            if len(parts) < envelope[5]:
                return None
            return profile(b"".join(parts[index] for index in sorted(parts)))
        return self.wait(f"the profile of {command}", match, seconds, since)
