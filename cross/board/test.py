"""The steps of `cross/board.sh test`, in order, each on what the step before left. The first that fails ends the test.

The board boots in another process; this one plays its chip, asks for runs through a real broker, and holds what comes
back against what it injected. Times passed to `wait` and `until` only bound a failing test: nothing measured under
emulation is compared with a clock.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

from operator_side import Operator

UNIT = "clipmarkd.service"
DEVICE = "emulated-board"
CONFIG = "/etc/clipmark/clipmarkd.toml"
# The host's loopback as the board sees it.
HOST = "10.0.2.2"
PATIENCE = 900

# VDD_IN in mV and mA before, at the begin of and after the throttling of the soak; one step of the chip is 8.
IDLE, BURST, HOT = (5000, 800), (5000, 1600), (5000, 2400)
COOL_CELSIUS, HOT_CELSIUS = 45, 95
SWEEP = {"models": ["temporal"], "clip_lengths": [8, 16], "batch_sizes": [1], "iterations": 20,
         "inference_limit_s": 120, "prepare_limit_s": 600}
SOAK = {"models": ["temporal"], "mode": "soak", "soak_points": [{"batch_size": 1, "clip_length": 8}], "soak_s": 150,
        "inference_limit_s": 120, "prepare_limit_s": 600}
GROUP_BYTES = 64 << 20
# How much of the soak runs unthrottled, as its own messages count it.
BURST_MS = 45_000


def milliwatts(rail):
    return rail[0] * rail[1] / 1000


class Board:
    """The booted board, over one ssh connection that every command shares."""

    def __init__(self, key, port, work):
        self.ssh = ["ssh", "-q", "-i", key, "-p", port, "-o", "StrictHostKeyChecking=no",
                    "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=60", "-o", "ControlMaster=auto",
                    "-o", f"ControlPath={work}/ssh", "-o", "ControlPersist=600", "root@127.0.0.1"]

    def run(self, command, check=True, given=None):
        done = subprocess.run([*self.ssh, command], input=given, capture_output=True,
                              stdin=subprocess.DEVNULL if given is None else None)
        said = done.stdout.decode(errors="replace")
        if check and done.returncode != 0:
            raise AssertionError(f"`{command}` ended with {done.returncode}:\n{said}{done.stderr.decode()}\n"
                                 f"{self.journal()[-4000:]}")
        return said if check else said + done.stderr.decode(errors="replace")

    def journal(self):
        return self.run(f"journalctl -u {UNIT} --no-pager -o cat", check=False)

    def show(self, key):
        return self.run(f"systemctl show -P {key} {UNIT}").strip()

    def until(self, what, look, seconds=PATIENCE):
        """Looks again and again until `look` gives something; the bound only ends a failing test."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = look()
            if found is not None:
                return found
        raise AssertionError(f"{what} did not come within {seconds} s\n{self.journal()[-6000:]}")

    def play(self, rail=None, celsius=None):
        """Writes the chips' registers."""
        if rail is not None:
            self.run(f"/root/chip rail 0 {rail[0]} {rail[1]}")
        if celsius is not None:
            self.run(f"/root/chip celsius {celsius}")


def the_kernel_s_own_drivers_read_what_the_chips_are_told(board, _):
    chip = Path(__file__).with_name("chip.sh").read_bytes()
    board.run("cat > /root/chip && chmod +x /root/chip && /root/chip begin", given=chip)
    # The two rails behind VDD_IN must not be added to it.
    board.run("/root/chip rail 1 5000 400 && /root/chip rail 2 5000 304")
    board.play(IDLE, COOL_CELSIUS)
    board.run("/root/chip drivers")
    found = board.run("cd /sys/class/hwmon && for h in hwmon*; do n=$(cat $h/name); for f in in1_label in1_input"
                      " curr1_input temp1_input; do [ -e $h/$f ] && echo $n.$f=$(cat $h/$f); done; done; true")
    for line in ("ina3221.in1_label=VDD_IN", f"ina3221.in1_input={IDLE[0]}", f"ina3221.curr1_input={IDLE[1]}",
                 f"lm75.temp1_input={COOL_CELSIUS * 1000}"):
        assert line in found.split(), f"{line} is not among:\n{found}"
    print("   ", board.run("uname -mr").strip(), "|", " ".join(found.split()))
    zone = board.run("cat /sys/class/thermal/thermal_zone0/type /sys/class/thermal/cooling_device0/type"
                     " /sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq").split()
    print("   ", *zone)
    assert zone[0] == "tj-thermal" and zone[2] == "1510400", zone


def the_package_installs_and_systemd_starts_the_daemon(board, operator):
    board.run("cat > /root/clipmarkd.deb", given=Path(DEB).read_bytes())
    board.run("DEBIAN_FRONTEND=noninteractive dpkg -i /root/clipmarkd.deb 2>&1")
    assert board.show("ActiveState") == "active" and board.show("Type") == "notify", board.journal()
    assert "clipmarkd is up" in board.journal()
    board.run(f"sed -i 's/^# id = .*/id = \"{DEVICE}\"/; s/^port = .*/port = {operator.port}/;"
              f" s/^host = .*/host = \"{HOST}\"/; s/^delivery = .*/delivery = \"puback\"/;"
              f" s/^progress_s = .*/progress_s = 1/' {CONFIG} && systemctl restart {UNIT}")
    operator.wait_state(DEVICE, {"online"}, PATIENCE)
    print("   ", board.run("clipmarkd --version; file -b /usr/bin/clipmarkd 2>/dev/null; dpkg-query -W clipmarkd;"
                           " systemctl --version | head -1").replace("\n", " | "))
    print("   ", board.run(f"systemd-analyze security --no-pager --threshold=20 {UNIT}").strip().splitlines()[-1])


def the_board_is_recognised_and_its_rails_are_read(board, _):
    said = board.run("clipmarkd probe read")
    print("   ", *[line.strip() for line in said.splitlines() if "VDD" in line or "tj-thermal" in line], sep="\n      ")
    assert re.search(rf"total power +{milliwatts(IDLE) / 1000:.3f} W = VDD_IN ", said), said


def a_sweep_comes_back_through_the_broker(_, operator):
    here = operator.request(DEVICE, "sweep", SWEEP)
    operator.wait_status(DEVICE, "sweep", {"successful"}, PATIENCE, here)
    profile = operator.wait_profile(DEVICE, "sweep", PATIENCE, here)
    environment = profile["environment"]
    assert environment[1] == "aarch64" and environment[5] == "orin-nano", environment
    assert [point["clip"] for point in profile["points"]] == [8, 16]
    assert all(point["status"] == "measured" and point["iterations"] >= 20 for point in profile["points"]), profile
    print("   ", environment[4], "|", [f"clip {point['clip']}: {point['iterations']} inferences" for point in profile["points"]],
          "|", profile["size"], "bytes of CBOR")


def soaking(topic, payload):
    progress = json.loads(payload) if topic.endswith("/progress") else {}
    return progress if progress.get("command") == "soak" and progress.get("phase") == "soak" else None


def heat(board):
    """What a hot board does: the sensor passes the trip, the kernel lowers the clock, work slows down, power changes.
    The emulated clock cannot slow work down, so a quota does. One script, so that all of it lies close together."""
    script = (f"/root/chip celsius {HOT_CELSIUS}; "
              "until [ $(cat /sys/class/thermal/cooling_device0/cur_state) -gt 0 ]; do :; done; "
              f"/root/chip rail 0 {HOT[0]} {HOT[1]}; "
              "systemctl set-property --runtime clipmark.slice CPUQuotaPeriodSec=10ms CPUQuota=35%; "
              "echo state $(cat /sys/class/thermal/cooling_device0/cur_state),"
              " cap $(cat /sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq) kHz")
    print("    injected:", board.run(script).strip())


def a_soak_finds_what_was_injected(board, operator):
    here = operator.request(DEVICE, "soak", SOAK)
    begun = operator.wait("the soak's beginning", soaking, PATIENCE, here)
    board.play(rail=BURST)

    def far_enough(topic, payload):
        progress = soaking(topic, payload)
        return progress if progress and progress["elapsed_ms"] >= begun["elapsed_ms"] + BURST_MS else None
    operator.wait("the unthrottled part", far_enough, PATIENCE, here)
    heat(board)
    operator.wait_status(DEVICE, "soak", {"successful"}, PATIENCE, here)
    profile = operator.wait_profile(DEVICE, "soak", PATIENCE, here)
    board.run("systemctl set-property --runtime clipmark.slice CPUQuota=")
    (soak,) = profile["soaks"]
    print("   ", json.dumps(soak, indent=1).replace("\n", "\n    "))
    hold_against_the_injected(profile, soak)


def near(found, expected, share=0.01):
    return abs(found - expected) <= share * expected


def hold_against_the_injected(profile, soak):
    (throttle, *_) = soak["throttles"]
    evidence = "; ".join(throttle["evidence"])
    assert throttle["cause"] == "thermal", soak["throttles"]
    assert f"reached {HOT_CELSIUS}.0" in evidence and "cap.cpu0 fell" in evidence, evidence
    assert throttle["slowdown"] > 1.2, throttle
    assert soak["peak_celsius"]["temp.tj-thermal"] == HOT_CELSIUS, soak["peak_celsius"]
    # While throttled, the rail stood still: power is the injected product, and energy is power over the frame rate.
    sustained = soak["sustained_energy"]
    assert near(sustained["mean_power_mw"], milliwatts(HOT)), sustained
    per_frame = 1000 * sustained["mean_power_mw"] / soak["sustained_frames_per_s"]
    assert near(sustained["gross_per_frame_uj"], per_frame), (sustained, soak["sustained_frames_per_s"])
    # Over the whole soak the rail moved, so the mean lies between, and nearer to the longer part.
    whole = soak["energy"]["mean_power_mw"]
    assert milliwatts(BURST) < whole < milliwatts(HOT), whole
    frames = soak["inferences"] * 8
    rate = frames / (soak["duration_ms"] / 1000)
    assert near(soak["energy"]["gross_per_frame_uj"], 1000 * whole / rate, 0.05), (soak["energy"], rate)
    assert milliwatts(IDLE) * 0.99 <= profile["idle_power_mw"] < milliwatts(HOT), profile["idle_power_mw"]


def measured_processes_are_kept_apart(board, operator):
    """The second CPU and a small group for them: what fits is measured there, what does not is out of memory."""
    board.run(f"sed -i 's/^# cpus = .*/cpus = \"1\"/; s/^# memory_max_bytes = .*/memory_max_bytes = {GROUP_BYTES}/' {CONFIG}"
              f" && systemctl reload {UNIT}")
    before = board.show("MainPID")
    here = operator.request(DEVICE, "apart", {**SWEEP, "clip_lengths": [8], "iterations": 10})
    operator.wait_status(DEVICE, "apart", {"successful"}, PATIENCE, here)
    environment = operator.wait_profile(DEVICE, "apart", PATIENCE, here)["environment"]
    assert (environment.get(18), environment.get(19)) == ("1", GROUP_BYTES), environment
    assert board.run(f"sed -n 's/^Cpus_allowed_list:\\s*//p' /proc/{before}/status").strip() == "0"
    groups = board.run(f"cd /sys/fs/cgroup/clipmark.slice/{UNIT} && cat clipmark/cgroup.procs measured/memory.max")
    assert groups.split() == [before, str(GROUP_BYTES)], groups
    here = operator.request(DEVICE, "too-large", {**SWEEP, "models": ["conv3d"], "clip_lengths": [128], "batch_sizes": [8]})
    operator.wait_status(DEVICE, "too-large", {"successful"}, PATIENCE, here)
    (point,) = operator.wait_profile(DEVICE, "too-large", PATIENCE, here)["points"]
    print("   ", point["status"], "-", point["failure"])
    assert point["status"] == "failed" and f"killed the worker for memory under a limit of {GROUP_BYTES >> 20} MiB" in \
        point["failure"], point
    assert board.show("MainPID") == before and board.show("ActiveState") == "active", board.journal()


def removing_leaves_nothing(board, operator):
    here = operator.mark()
    board.run("dpkg --purge clipmarkd 2>&1")
    operator.wait_state(DEVICE, {"offline"}, PATIENCE, here)
    left = board.run("find / -xdev -iname '*clipmark*' | grep -v -e ^/root -e ^/var/log -e ^/run -e tmp", check=False)
    assert left.strip() == "", left


STEPS = [
    the_kernel_s_own_drivers_read_what_the_chips_are_told, the_package_installs_and_systemd_starts_the_daemon,
    the_board_is_recognised_and_its_rails_are_read, a_sweep_comes_back_through_the_broker,
    a_soak_finds_what_was_injected, measured_processes_are_kept_apart, removing_leaves_nothing,
]


def main(key, port, work):
    begin = time.monotonic()
    operator = Operator(work)
    board = Board(key, port, work)
    try:
        for step in STEPS:
            step(board, operator)
            print(f"ok  {step.__name__.replace('_', ' ')}  [{time.monotonic() - begin:.0f} s]", flush=True)
    finally:
        operator.close()


DEB = sys.argv[4]
main(*sys.argv[1:4])
