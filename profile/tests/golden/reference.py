#!/usr/bin/env python3
"""The reference figures of latency samples, as Python's statistics module computes them.

    reference.py generate > quantiles.jsonl   the committed golden vectors
    reference.py figures  < samples.jsonl     one JSON list of integers a line in, one line of figures out

Doubles are given as the hexadecimal of their 64 bits. Peers' percentiles follow their sources: MLPerf LoadGen
x[floor(.99 n)], trtexec (sampleReporting.cpp, single precision), perf_analyzer x[trunc(.99 (n - 1) + .5)].
Standard library only, any Python from 3.8 on.
"""

import json
import random
import statistics
import struct
import sys


def bits(value):
    return struct.pack(">d", float(value)).hex()


def single(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def trtexec(ordered):
    excluded = int(single(single(1.0 - single(99.0 / 100.0)) * single(float(len(ordered)))))
    return ordered[max(len(ordered) - 1 - excluded, 0)]


def quantile(values, n, index):
    return bits(statistics.quantiles(values, n=n)[index]) if len(values) >= 2 else None


def figures(values):
    ordered = sorted(values)
    return {
        "mean": bits(statistics.mean(values)),
        "p50": bits(statistics.median(values)),
        "p95": quantile(values, 20, 18),
        "p99": quantile(values, 100, 98),
        "p999": quantile(values, 1000, 998),
        "mlperf_p99": ordered[len(ordered) * 99 // 100],
        "trtexec_p99": trtexec(ordered),
        "perf_analyzer_p99": ordered[int(0.99 * (len(ordered) - 1) + 0.5)],
    }


def samples():
    random.seed(20240229)
    yield list(range(1, 1001))
    yield [7_000_000] * 40
    for n in (1, 2, 3, 18, 19, 20, 50, 98, 99, 100, 101, 150, 367, 368):
        yield [int(random.lognormvariate(16.1, 0.05)) for _ in range(n)]
    yield [int(random.lognormvariate(16.1, 0.3)) for _ in range(999)]
    yield [random.choice((10_000_000, 10_000_001, 31_000_000)) for _ in range(1000)]
    # Beyond the 53 bits of a double, where every rounding but the last must be avoided.
    for n in (2, 5, 99, 120):
        yield [random.getrandbits(64) for _ in range(n)]
    yield [2**53 + 1, 2**53 + 1]
    yield [2**53 + 1, 2**53 + 1, 2**53 + 2]
    yield [2**64 - 1] * 3


def main():
    if sys.argv[1:] == ["generate"]:
        for values in samples():
            print(json.dumps({"values": values, **figures(values)}, separators=(",", ":")))
    elif sys.argv[1:] == ["figures"]:
        for line in sys.stdin:
            print(json.dumps(figures(json.loads(line))), flush=True)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
