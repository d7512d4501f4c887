#!/usr/bin/env python3
"""Compares the float32 multiply with OpenBLAS, in alternating short runs.

Usage, from anywhere in the module:  bench/peers/sgemm.py [--rounds 7] [--threads 2] [--size 1024] [--tier avx512] [--numpy]
Needs Go, Python 3 and OpenBLAS: the system's (Debian: libopenblas0-pthread), or
with --numpy that of NumPy, which is newer (needs threadpoolctl, too). Both sides
compute C = A·Bᵀ of random square matrices; ours is BenchmarkSquare of
internal/kernel. A shared machine disturbs both sides alike, so the ratio of
neighbouring runs is what to quote; the medians and the best runs are printed
beside it. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are removed from the environment, because
a leftover would slow OpenBLAS down.
"""

import argparse
import ctypes
import ctypes.util
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROW_MAJOR, NO_TRANS, TRANS = 101, 111, 112


class OpenBLAS:
    def __init__(self, threads, n):
        name = ctypes.util.find_library("openblas") or "libopenblas.so.0"
        self.lib = ctypes.CDLL(name)
        self.lib.openblas_set_num_threads(threads)
        self.lib.openblas_get_corename.restype = ctypes.c_char_p
        self.lib.openblas_get_config.restype = ctypes.c_char_p
        self.n = n
        draw = random.Random(1)
        fill = (ctypes.c_float * (n * n))
        self.a = fill(*[draw.gauss(0, 1) for _ in range(n * n)])
        self.b = fill(*[draw.gauss(0, 1) for _ in range(n * n)])
        self.c = fill()
        self.run(3)

    def name(self):
        return self.lib.openblas_get_config().decode() + ", kernel " + self.lib.openblas_get_corename().decode()

    def run(self, times):
        n, f = self.n, ctypes.c_float
        start = time.perf_counter()
        for _ in range(times):
            self.lib.cblas_sgemm(ROW_MAJOR, NO_TRANS, TRANS, n, n, n, f(1), self.a, n, self.b, n, f(0), self.c, n)
        return 2e-9 * n**3 * times / (time.perf_counter() - start)


class NumPy:
    """The OpenBLAS that NumPy brings along."""

    def __init__(self, threads, n):
        import numpy
        import threadpoolctl

        self.numpy, self.n = numpy, n
        self.limits = threadpoolctl.threadpool_limits(threads, user_api="blas")
        self.info = [i for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"]
        draw = numpy.random.default_rng(1)
        self.a, self.b = (draw.standard_normal((n, n), dtype=numpy.float32) for _ in range(2))
        self.c = numpy.empty((n, n), numpy.float32)
        self.run(3)

    def name(self):
        return f"NumPy {self.numpy.__version__}: " + ", ".join(f"{i['internal_api']} {i['version']}, kernel {i.get('architecture')}" for i in self.info)

    def run(self, times):
        start = time.perf_counter()
        for _ in range(times):
            self.numpy.matmul(self.a, self.b.T, out=self.c)
        return 2e-9 * self.n**3 * times / (time.perf_counter() - start)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--rounds", type=int, default=7)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--size", type=int, default=1024)
    ap.add_argument("--times", type=int, default=20, help="multiplies per run")
    ap.add_argument("--tier", default="", help="avx512, avx2 or generic; default: the best")
    ap.add_argument("--numpy", action="store_true", help="compare with the OpenBLAS of NumPy")
    args = ap.parse_args()
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    env = dict(os.environ, GIMBAL_KERNEL=args.tier, GIMBAL_BENCH_SIZE=str(args.size))
    with tempfile.TemporaryDirectory() as tmp:
        binary = os.path.join(tmp, "kernel.test")
        subprocess.run(["go", "test", "-c", "-o", binary, "./internal/kernel"], cwd=root, check=True)

        def ours():
            out = subprocess.run(
                [binary, "-test.run=^$", "-test.bench=^BenchmarkSquare$", f"-test.benchtime={args.times}x", f"-test.cpu={args.threads}"],
                env=env, check=True, capture_output=True, text=True).stdout
            m = re.search(r"([\d.]+) GFLOP/s", out)
            if not m:
                sys.exit("no figure in the benchmark's output:\n" + out)
            return float(m.group(1))

        blas = (NumPy if args.numpy else OpenBLAS)(args.threads, args.size)
        print(f"{blas.name()}; {args.threads} threads, {args.size}³")
        mine, theirs, ratios = [], [], []
        for i in range(args.rounds):
            theirs.append(blas.run(args.times))
            mine.append(ours())
            ratios.append(mine[-1] / theirs[-1])
            print(f"round {i + 1}: OpenBLAS {theirs[-1]:.0f}, Gimbal {mine[-1]:.0f} GFLOP/s, ratio {ratios[-1]:.2f}")
    print(f"median: OpenBLAS {statistics.median(theirs):.0f}, Gimbal {statistics.median(mine):.0f} GFLOP/s, "
          f"ratio {statistics.median(ratios):.2f}; best: OpenBLAS {max(theirs):.0f}, Gimbal {max(mine):.0f}")


if __name__ == "__main__":
    main()
