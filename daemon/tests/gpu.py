#!/usr/bin/env python3
"""Holds clipmarkd to what docs/verification.md expects of TensorRT, on the GPU of this machine.

    daemon/tests/gpu.py CLIPMARKD [--keep DIR] [--jobs N] [--option NAME=VALUE]... [--only NAME...]

On a Jetson as it is; on a PC with an NVIDIA driver, CLIPMARK_TENSORRT_DIR names the folder with libnvinfer.so.*
where the loader does not find it. Prints one line a check and ends with 1 when one fails; a check that this TensorRT
or GPU cannot be put through says why. Figures are of this machine. --keep leaves every profile and every output.
Runs on Python 3.6, which JetPack 4 has.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

CHECKS = []


class Fails(Exception):
    """What was expected is not so."""


class NotHere(Exception):
    """This TensorRT or this GPU cannot be put through it."""


def check(function):
    CHECKS.append(function)
    return function


def hold(condition, otherwise):
    if not condition:
        raise Fails(otherwise)


class Board:
    def __init__(self, program, folder, seconds, options):
        self.program, self.folder, self.seconds = program, folder, seconds
        self.options = [word for option in options for word in ("--backend-option", option)]
        self.cache = os.path.join(folder, "engines")
        os.makedirs(self.cache, exist_ok=True)

    def call(self, *arguments):
        """Exit code and all that was said."""
        command = [self.program] + [str(argument) for argument in arguments]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=self.seconds, cwd=self.folder)
        except subprocess.TimeoutExpired:
            raise Fails("no end within %d s: %s" % (self.seconds, " ".join(command[1:])))
        return done.returncode, done.stdout.decode(errors="replace")

    def run(self, name, *arguments, clips="8", batches="1", model="temporal", backend="tensorrt"):
        """The profile of a run in the folder `name`, with what was said beside it."""
        out = os.path.join(self.folder, name)
        code, said = self.call(
            "run", model, "--backend", backend, "--clip-lengths", clips, "--batch-sizes", batches, "--iterations", 200,
            "--no-sampler", "--engine-cache", self.cache, "--out", out, *self.options, *arguments)
        with open(os.path.join(self.folder, name + ".log"), "w") as log:
            log.write(said)
        try:
            with open(os.path.join(out, "profile.json")) as file:
                return json.load(file)
        except OSError:
            raise Fails("exit %d and no profile: %s" % (code, said.strip()[-600:]))


def points(profile):
    """Every point, all of which must be measured."""
    for point in profile["points"]:
        failure = point.get("failure") or {}
        hold(point["status"] == "measured", "%s: %s" % (point["status"], failure.get("message", "")))
    hold(profile["points"], "no point at all")
    return profile["points"]


def refused(profile, *words):
    """The message of the one point, which must be a failure that holds one of `words`."""
    point = profile["points"][0]
    hold(point["status"] == "failed", "it is %s instead of failed" % point["status"])
    message = point["failure"]["message"]
    hold(any(word in message for word in words), "another failure: " + message)
    return message


def us(nanoseconds):
    return "%.1f us" % (nanoseconds / 1000)


def remarks(point):
    return "; ".join(point["remarks"])


def version(board):
    """Major and minor of this machine's TensorRT, and what is said of it."""
    _, said = board.call("check", "--json")
    try:
        requirements = json.loads(said)
    except ValueError:
        raise Fails("`clipmarkd check --json` says no JSON: " + said[-600:])
    for requirement in requirements:
        if "tensorrt" in requirement["name"]:
            hold(requirement["standing"] == "satisfied", requirement["found"])
            return tuple(int(part) for part in requirement["found"].split(".")[:2]), requirement["found"]
    raise Fails("`clipmarkd check` says nothing of TensorRT")


@check
def found(board):
    """libraries are found and the device is named"""
    return version(board)[1]


@check
def selftest(board):
    """outputs equal tract's, compute time agrees with trtexec's"""
    code, said = board.call("check", "--selftest")
    hold(code == 0, "exit %d: %s" % (code, said.strip()[-900:]))
    return " | ".join(line.strip() for line in said.strip().splitlines())


@check
def cached(board):
    """engines are built, cached, and taken from the cache"""
    first = points(board.run("cached-1", clips="8,16"))
    second = points(board.run("cached-2", clips="8,16"))
    hold(all(point["engine"] and not point["engine"]["cached"] for point in first), "the first run found engines")
    hold(all(point["engine"] and point["engine"]["cached"] for point in second), "the second run built again")
    return "prepared in %s, then in %s" % tuple(
        " and ".join("%.2f s" % (point["prepare_ns"] / 1e9) for point in run) for run in (first, second))


@check
def device_times(board):
    """transfers and compute add up to less than latency"""
    told = []
    for point in points(board.run("times", clips="8,128")):
        parts = [point[key] for key in ("h2d_p50_ns", "compute_p50_ns", "d2h_p50_ns")]
        hold(all(part for part in parts), "a device time is absent or 0: %s" % parts)
        latency = point["latency"]["p50_ns"]
        hold(sum(parts) < latency, "%s of %s" % (us(sum(parts)), us(latency)))
        told.append("P50 %s = %s and %s beside it" % (us(latency), " + ".join(us(part) for part in parts),
                                                      us(latency - sum(parts))))
    return "; ".join(told)


@check
def precisions(board):
    """fp16 and fp32 kernels; bf16 where there is one"""
    (major, _), _ = version(board)
    if major == 11:
        return "TensorRT 11: " + refused(board.run("fp16", "--precision", "fp16"), "from the model")
    times = {}
    for precision in ("fp32", "tf32", "fp16"):
        [point] = points(board.run(precision, "--precision", precision, clips="64", batches="4", model="joint"))
        times[precision] = point["compute_p50_ns"]
    told = ", ".join("%s %s" % (name, us(time)) for name, time in times.items())
    bf16 = board.run("bf16", "--precision", "bf16")
    if major == 8:
        return told + "; bf16: " + refused(bf16, "no bf16")
    return told + ", bf16 " + us(points(bf16)[0]["compute_p50_ns"])


@check
def shared(board):
    """one engine for all points"""
    measured = points(board.run("shared", "--backend-option", "profile=shared", clips="8,32", batches="1,2"))
    engines = [name for _, _, names in os.walk(board.cache) for name in names if name.endswith(".engine")]
    hold(len(engines) == 1, "%d engines in the cache" % len(engines))
    hold("serves" in remarks(measured[0]), "no word of the shapes served: " + remarks(measured[0]))
    return remarks(measured[0])


@check
def cuda_graph(board):
    """a CUDA graph shortens the host's part"""
    told = []
    for on in ("false", "true"):
        [point] = points(board.run("graph-" + on, "--backend-option", "cuda_graph=" + on))
        hold(("CUDA graph" in remarks(point)) == (on == "true"), remarks(point))
        told.append("%s: compute %s, latency %s" % (on, us(point["compute_p50_ns"]), us(point["latency"]["p50_ns"])))
    return "; ".join(told)


@check
def tactic_sources(board):
    """the builder chooses kernels from what it is told to"""
    if any(word.startswith("tactic_sources=") for word in board.options):
        raise NotHere("every run has tactic sources of its own: --option")
    [point] = points(board.run("tactics", "--backend-option", "tactic_sources=edge_mask_convolutions"))
    hold("tactic sources: edge_mask_convolutions" in remarks(point), remarks(point))
    return remarks(point)


@check
def workspace(board):
    """the workspace limit reaches the builder"""
    [point] = points(board.run("workspace", "--backend-option", "workspace_mib=64"))
    hold("64 MiB" in remarks(point), remarks(point))
    return remarks(point)


@check
def builder_level(board):
    """the builder's level reaches it, and is refused before TensorRT 8.6"""
    number, _ = version(board)
    profile = board.run("level", "--backend-option", "builder_level=1")
    if number < (8, 6):
        return refused(profile, "has no", "8.6")
    [point] = points(profile)
    hold("level 1" in remarks(point), remarks(point))
    return remarks(point)


@check
def dla(board):
    """a DLA core runs what it can, and its absence is said"""
    (major, _), _ = version(board)
    precision = () if major == 11 else ("--precision", "fp16")
    profile = board.run("dla", "--backend-option", "dla_core=0", *precision)
    if profile["points"][0]["status"] == "failed":
        return refused(profile, "no DLA core")
    hold("DLA core 0" in remarks(points(profile)[0]), remarks(profile["points"][0]))
    return remarks(profile["points"][0])


@check
def operators(board):
    """layers with their times"""
    [point] = points(board.run("operators", "--per-op"))
    layers = point["operators"]
    hold(layers, "no layer")
    share = sum(layer["share"] for layer in layers)
    hold(0.5 < share < 1.01, "the layers' shares add up to %.3f" % share)
    costliest = max(layers, key=lambda layer: layer["share"])
    return "%d layers, %s takes %.0f %%" % (len(layers), costliest["name"][:60], 100 * costliest["share"])


@check
def bad_model(board):
    """what is no model ends with the parser's own words"""
    path = os.path.join(board.folder, "unsupported.onnx")
    code, said = board.call("model", "write", "temporal", path)
    hold(code == 0, said)
    with open(path, "rb") as file:
        content = file.read()
    hold(b"Erf" in content, "the model has no Erf to damage")
    with open(path, "wb") as file:
        file.write(content.replace(b"Erf", b"Erx"))
    return refused(board.run("unsupported", model=path), "Erx", "parser")


@check
def trtexec(board):
    """trtexec's times agree"""
    if not (shutil.which("trtexec") or os.path.exists("/usr/src/tensorrt/bin/trtexec")):
        raise NotHere("no trtexec")
    [point] = points(board.run("trtexec", backend="trtexec"))
    return "latency P50 %s" % us(point["latency"]["p50_ns"])


def carry_out(function, board):
    try:
        return "ok", function(board)
    except NotHere as reason:
        return "n/a", str(reason)
    except Fails as reason:
        return "FAILED", str(reason)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clipmarkd")
    parser.add_argument("--keep", metavar="DIR", help="leave everything here")
    parser.add_argument("--jobs", type=int, default=1, help="checks at a time; with more than 1, times mean little")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                        help="a --backend-option of every run, e.g. tactic_sources=none where cuDNN is not installed")
    parser.add_argument("--limit", type=int, default=900, metavar="SECONDS", help="longest time of one command")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[function.__name__ for function in CHECKS])
    arguments = parser.parse_args()
    folder = arguments.keep or tempfile.mkdtemp()
    wanted = [function for function in CHECKS if not arguments.only or function.__name__ in arguments.only]
    boards = []
    for function in wanted:
        own = os.path.join(folder, function.__name__)
        boards.append(Board(os.path.abspath(arguments.clipmarkd), own, arguments.limit, arguments.option))
    failed = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for function, (verdict, told) in zip(wanted, pool.map(carry_out, wanted, boards)):
            print("%-7s %s: %s\n        %s" % (verdict, function.__name__, function.__doc__, told), flush=True)
            failed += verdict == "FAILED"
    if not arguments.keep:
        shutil.rmtree(folder, ignore_errors=True)
    print("%d checks, %d failed" % (len(wanted), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
