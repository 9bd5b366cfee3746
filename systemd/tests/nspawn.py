"""The steps of nspawn.sh, in order, each on what the step before left. The first that fails ends the test."""

import ctypes
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from operator_side import Operator

UNIT = "clipmarkd.service"
DEVICE = "container"
STATE = "/var/lib/clipmark"
QUICK = {"models": ["temporal"], "clip_lengths": [8, 16], "batch_sizes": [1], "iterations": 20}
# Long enough to be killed between two points, on a fast machine too.
LONG = {"models": ["temporal"], "clip_lengths": [8, 16, 32], "batch_sizes": [1, 2], "iterations": 1000}


class Container:
    """A booted systemd-nspawn container over a read-only tree; it dies with this object."""

    def __init__(self, tree, work):
        self.log = open(work / "container.log", "w")
        command = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "--volatile=overlay", "--console=pipe",
                   # Workers close files to themselves by these; nspawn's own filter would hide them.
                   "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
                   f"--bind-ro={work / 'debs'}:/debs", "-D", tree, "--boot"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.leader = None
        self.until("the container being up", self._is_up, 60)

    def _is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the container ended: {Path(self.log.name).read_text()}")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children:
            return None
        self.leader = children[0]
        done = self.run("systemctl is-system-running", check=False)
        return done.strip() in ("running", "degraded") or None

    def until(self, what, look, seconds):
        """Looks again and again until `look` gives something; the bound only ends a failing test."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = look()
            if found is not None:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what} did not come within {seconds} s\n{self.journal()[-6000:]}")

    def run(self, command, check=True):
        enter = ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-p", "--", "/bin/sh", "-c", command]
        done = subprocess.run(enter, text=True, capture_output=True, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError(f"`{command}` ended with {done.returncode}:\n{done.stdout}{done.stderr}\n{self.journal()[-4000:]}")
        return done.stdout if check else done.stdout + done.stderr

    def show(self, key):
        return self.run(f"systemctl show -P {key} {UNIT}").strip()

    def journal(self, more=""):
        return self.run(f"journalctl -u {UNIT} --no-pager -o cat {more}", check=False)

    def install(self, deb):
        self.run(f"DEBIAN_FRONTEND=noninteractive dpkg -i /debs/{deb} 2>&1")

    def close(self):
        subprocess.run(["kill", "-KILL", self.leader], check=False)
        self.process.wait()


def installing_starts_the_daemon(box, operator):
    box.install("clipmarkd_0.1.0~dev1-1_*.deb")
    assert box.show("ActiveState") == "active", box.journal()
    assert box.show("UnitFileState") == "enabled"
    assert box.show("NotifyAccess") == "main" and box.show("Type") == "notify"
    assert "clipmarkd is up" in box.journal()
    assert box.run(f"stat -c '%U %a' {STATE} {STATE}/models").split() == ["clipmark", "750"] * 2
    status = Path(f"/proc/{host_pid(box)}/status").read_text()
    assert re.search(r"^Seccomp:\s+2$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    assert re.search(r"^CapBnd:\s+0+$", status, re.M), "the daemon could get capabilities"
    pages = box.run("ls /usr/share/man/man1 /usr/share/bash-completion/completions /usr/share/clipmark/boards")
    assert "clipmarkd-serve.1.gz" in pages and "orin-nano.toml" in pages


def host_pid(box):
    """The daemon's process id as this machine sees it."""
    inner = box.show("MainPID")
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            found = re.search(r"^NSpid:.*\s(\d+)$", path.read_text(), re.M)
            ours = path.parent.joinpath("ns/pid").samefile(f"/proc/{box.leader}/ns/pid")
        except OSError:
            continue
        if ours and found and found.group(1) == inner:
            return path.parent.name
    raise AssertionError(f"process {inner} of the container is not among this machine's")


def the_unit_is_sound_and_closed(box, _):
    # The program that the power mode needs exists on a Jetson alone.
    box.run("install -m 755 /bin/true /usr/sbin/nvpmodel")
    box.run(f"systemd-analyze verify --man=no {UNIT} clipmark.slice clipmark-powermode@2.service")
    said = box.run(f"systemd-analyze security --no-pager --threshold=20 {UNIT}")
    print("   ", said.strip().splitlines()[-1])
    inside = f"nsenter -t {box.show('MainPID')} -m --"
    for path in ("/usr/x", "/etc/x", "/var/lib/x", "/sys/x"):
        said = box.run(f"{inside} touch {path}", check=False)
        assert "Read-only file system" in said or "Permission denied" in said, f"{path}: {said}"
    box.run(f"{inside} touch {STATE}/x && rm {STATE}/x")
    assert box.show("Slice") == "clipmark.slice"


def a_reload_takes_a_new_configuration_and_refuses_a_wrong_one(box, operator):
    box.run(f"sed -i 's/^# id = .*/id = \"{DEVICE}\"/; s/^port = .*/port = {operator.port}/;"
            " s/^host = .*/host = \"127.0.0.1\"/; s/^delivery = .*/delivery = \"puback\"/' /etc/clipmark/clipmarkd.toml")
    # The name takes a restart, the broker a reload.
    box.run(f"systemctl restart {UNIT}")
    operator.wait_state(DEVICE, {"online"}, 30)
    before = box.show("MainPID")
    box.run("sed -i 's/^keepalive_s = .*/keepalive_s = 0/' /etc/clipmark/clipmarkd.toml")
    box.run(f"systemctl reload {UNIT}")
    box.until("the refusal", lambda: "mqtt.keepalive_s = 0" in box.journal() or None, 20)
    box.run("sed -i 's/^keepalive_s = .*/keepalive_s = 20/' /etc/clipmark/clipmarkd.toml")
    box.run(f"systemctl reload {UNIT}")
    assert box.show("MainPID") == before and box.show("ActiveState") == "active"


def a_request_gives_a_profile(box, operator):
    here = operator.request(DEVICE, "first", QUICK)
    operator.wait_status(DEVICE, "first", {"successful"}, 120, here)
    profile = operator.wait_profile(DEVICE, "first", 30, here)
    assert [point["clip"] for point in profile["points"]] == [8, 16]
    assert all(point["status"] == "measured" and point["iterations"] >= 20 for point in profile["points"]), profile
    lines = box.until("the journal's field with the command", lambda: box.run(
        "journalctl -q --no-pager -o json CLIPMARK_COMMAND=first").splitlines() or None, 20)
    assert all(json.loads(line)["CLIPMARK_COMMAND"] == "first" for line in lines), lines


def has_landlock():
    """Asks this machine's kernel for the version of its Landlock (landlock_create_ruleset, the same number everywhere)."""
    return ctypes.CDLL(None).syscall(444, None, 0, 1) > 0


def workers_are_confined_inside_the_unit(box, operator):
    """The unit's own filters let a worker build its walls, and give up what a drop-in gave to the daemon."""
    folder = f"/etc/systemd/system/{UNIT}.d"
    for name, prepare in [("walls", "true"), ("walls-debugfs", f"mkdir -p {folder}; cp /usr/share/clipmark/drop-ins/"
                                                                f"debugfs.conf {folder}")]:
        mark = operator.mark()
        box.run(f"{prepare}; systemctl daemon-reload; systemctl restart {UNIT}")
        operator.wait_state(DEVICE, {"online"}, 30, mark)
        here = operator.request(DEVICE, name, QUICK)
        operator.wait_status(DEVICE, name, {"successful"}, 120, here)
        environment = operator.wait_profile(DEVICE, name, 30, here)["environment"]
        absent = {key: cause for key, cause in environment[17] if key.startswith("worker_")}
        print("   ", name, absent or "every layer stands")
        # What the kernel of this machine lacks is its own business; what the unit forbids is a fault.
        assert absent.keys() == (set() if has_landlock() else {"worker_files"}), absent
    box.run(f"rm {folder}/debugfs.conf; systemctl daemon-reload; systemctl restart {UNIT}")


def measured_processes_are_kept_apart_or_it_is_said_why(box, operator):
    memory = 1 << 30
    box.run("sed -i 's/^# cpus = .*/cpus = \"0\"/; s/^# memory_max_bytes = .*/memory_max_bytes = %d/'"
            " /etc/clipmark/clipmarkd.toml" % memory)
    box.run(f"systemctl reload {UNIT}")
    here = operator.request(DEVICE, "apart", QUICK)
    operator.wait_status(DEVICE, "apart", {"successful"}, 120, here)
    environment = operator.wait_profile(DEVICE, "apart", 30, here)["environment"]
    assert environment.get(18) == "0", environment
    absent = dict(environment[17])
    print("   ", absent.get("worker_memory_max", f"at most {environment.get(19)} bytes"))
    # Whether a container gets unified control groups depends on the machine; that it is one or the other does not.
    assert (environment.get(19) == memory) != ("worker_memory_max" in absent), environment


def an_upgrade_keeps_the_settings(box, operator):
    before = box.show("MainPID")
    settings = box.run("cat /etc/clipmark/clipmarkd.toml")
    here = operator.mark()
    box.install("clipmarkd_0.1.0~dev2-1_*.deb")
    assert box.run("dpkg-query -W -f='${Version}' clipmarkd") == "0.1.0~dev2-1"
    assert box.run("cat /etc/clipmark/clipmarkd.toml") == settings
    assert box.show("MainPID") != before and box.show("ActiveState") == "active"
    operator.wait_state(DEVICE, {"online"}, 30, here)


def hurry(box):
    """Times that suit a test, as a drop-in."""
    box.run(f"mkdir -p /etc/systemd/system/{UNIT}.d && printf '[Service]\\nWatchdogSec=3\\nTimeoutAbortSec=2\\n"
            f"RestartSec=1\\n' > /etc/systemd/system/{UNIT}.d/test.conf && systemctl daemon-reload"
            f" && systemctl restart {UNIT}")


def the_watchdog_restarts_a_stalled_daemon(box, operator):
    hurry(box)
    here = operator.mark()
    operator.wait_state(DEVICE, {"online"}, 30)
    stalled = box.show("MainPID")
    box.run(f"kill -STOP {stalled}")
    box.until("the restart", lambda: box.show("NRestarts") == "1" or None, 60)
    box.until("being active", lambda: box.show("ActiveState") == "active" or None, 30)
    assert box.show("MainPID") != stalled
    assert "Watchdog timeout" in box.journal()
    operator.wait_state(DEVICE, {"online"}, 30, here)


def a_killed_run_goes_on_where_it_was(box, operator):
    here = operator.request(DEVICE, "killed", LONG)
    operator.wait_status(DEVICE, "killed", {"executing"}, 60, here)

    def has_points(topic, payload):
        progress = json.loads(payload) if topic.endswith("/progress") else {}
        return progress if progress.get("command") == "killed" and (progress.get("point") or 0) >= 2 else None
    operator.wait("a point being finished", has_points, 120, here)
    after = operator.mark()
    box.run(f"kill -KILL {box.show('MainPID')}")
    operator.wait_status(DEVICE, "killed", {"successful"}, 240, after)
    profile = operator.wait_profile(DEVICE, "killed", 30, after)
    assert {point["status"] for point in profile["points"]} == {"measured"}, profile["points"]
    attempts = re.findall(r"a command starts.*", box.journal())
    assert len([line for line in attempts if "killed" in line]) == 2, attempts
    print("   ", attempts[-1])


def a_read_only_disk_rejects_runs_and_is_survived(box, operator):
    # The daemon has its own mount namespace, into which the host's remounting does not reach.
    inside = f"nsenter -t {box.show('MainPID')} -m --"
    box.run(f"{inside} mount --bind {STATE} {STATE} && {inside} mount -o remount,bind,ro {STATE}")
    here = operator.request(DEVICE, "no-disk", QUICK)
    status = operator.wait_status(DEVICE, "no-disk", {"rejected", "failed"}, 60, here)
    print("   ", status.get("reason"))
    assert status["reason"]["code"] == "storage", status
    box.run(f"{inside} umount {STATE}")
    here = operator.request(DEVICE, "disk-again", QUICK)
    operator.wait_status(DEVICE, "disk-again", {"successful"}, 120, here)
    assert box.show("NRestarts") in ("1", "2")


def a_disk_that_is_full_at_boot_is_waited_for(box, operator):
    """Another file system with no room lies over the state directory when the unit starts."""
    box.run(f"systemctl stop {UNIT} && mount -t tmpfs -o size=8m,mode=750,uid=clipmark,gid=clipmark tmpfs {STATE}"
            f" && ! head -c 9m /dev/zero > {STATE}/fill 2>/dev/null")
    mark = box.journal().count("cannot start yet")
    here = operator.mark()
    box.run(f"systemctl start {UNIT}")
    assert box.show("ActiveState") == "active" and "waiting" in box.show("StatusText"), box.show("StatusText")
    lines = box.journal()
    assert lines.count("cannot start yet") == mark + 1 and "free some space there" in lines, lines[-2000:]
    restarts = box.show("NRestarts")
    box.run(f"rm {STATE}/fill")
    operator.wait_state(DEVICE, {"online"}, 60, here)
    print("   ", box.show("StatusText"))
    assert box.show("NRestarts") == restarts and box.journal().count("cannot start yet") == mark + 1
    box.run(f"systemctl stop {UNIT} && umount {STATE}")


def a_broker_that_is_known_late_is_waited_for(box, operator):
    """The broker's name has no address when the unit starts, as before the network is up."""
    box.run("sed -i 's/^host = .*/host = \"broker.late.test\"/' /etc/clipmark/clipmarkd.toml")
    said = "this machine resolves names"
    before = box.journal().count(said)
    here = operator.mark()
    box.run(f"systemctl start {UNIT}")
    assert box.show("ActiveState") == "active", box.journal()[-2000:]
    box.until("the cause", lambda: box.journal().count(said) > before or None, 30)
    box.run("echo '127.0.0.1 broker.late.test' >> /etc/hosts")
    operator.wait_state(DEVICE, {"online"}, 60, here)
    assert box.journal().count(said) == before + 1, box.journal()[-2000:]


def removing_keeps_the_data_and_purging_deletes_it(box, operator):
    here = operator.mark()
    box.run("dpkg -r clipmarkd 2>&1")
    operator.wait_state(DEVICE, {"offline"}, 60, here)
    assert box.run("systemctl is-active clipmarkd", check=False).strip() == "inactive"
    box.run(f"test -e /etc/clipmark/clipmarkd.toml && test -d {STATE}/spool && ! test -e /usr/bin/clipmarkd")
    box.run("dpkg --purge clipmarkd 2>&1")
    left = box.run("find / -xdev -path /debs -prune -o -iname '*clipmark*' -print | grep -v -e ^/proc -e ^/sys", check=False)
    # What systemd keeps of a removed unit is systemd's own.
    left = [path for path in left.splitlines() if not path.startswith(("/var/log", "/run", "/tmp", "/var/tmp"))]
    assert left == [], left


STEPS = [
    installing_starts_the_daemon, the_unit_is_sound_and_closed,
    a_reload_takes_a_new_configuration_and_refuses_a_wrong_one, a_request_gives_a_profile,
    workers_are_confined_inside_the_unit, measured_processes_are_kept_apart_or_it_is_said_why,
    an_upgrade_keeps_the_settings, the_watchdog_restarts_a_stalled_daemon, a_killed_run_goes_on_where_it_was,
    a_read_only_disk_rejects_runs_and_is_survived, a_disk_that_is_full_at_boot_is_waited_for,
    a_broker_that_is_known_late_is_waited_for, removing_keeps_the_data_and_purging_deletes_it,
]


def main(tree, work):
    begin = time.monotonic()
    operator = Operator(work)
    try:
        box = Container(tree, Path(work))
        print(f"booted after {time.monotonic() - begin:.1f} s")
        try:
            for step in STEPS:
                step(box, operator)
                print(f"ok  {step.__name__.replace('_', ' ')}  [{time.monotonic() - begin:.1f} s]", flush=True)
        finally:
            box.close()
    finally:
        operator.close()


main(sys.argv[1], Path(sys.argv[2]))
