#!/usr/bin/env python3
"""Compares the memory that a plan predicts with the peak that the run had, over a grid of configurations.

Usage: bench/memory.py GIMBAL [--text FILE]

Each configuration trains two steps. Predicted: memory_bytes of the plan record in log.jsonl. Measured: the largest
memory_bytes of its steps, which is resident memory without mapped files (Linux). Prints a Markdown table; exits 1 when
a prediction is off by more than 10 %.
"""
import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("gimbal")
parser.add_argument("--text", help="text to train on; default: the source tree of the installed Go")
args = parser.parse_args()

grid = [(preset, mode, checkpointing) for preset, mode in itertools.product(("micro", "mini"), ("fp32", "bf16"))
        for checkpointing in ("none", "attention", "block")]
worst = 0.0
print("| preset | mode | checkpointing | predicted MB | measured MB | ratio |\n|---|---|---|---|---|---|")
for preset, mode, checkpointing in grid:
    with tempfile.TemporaryDirectory() as root:
        run = os.path.join(root, "run")
        command = [args.gimbal, "train", "--out", run, "--steps", "2", "--set", "model.preset=" + preset, "--set", "numeric.mode=" + mode,
                   "--set", "numeric.checkpointing=" + checkpointing, "--set", "eval.max_tokens=4"]
        if args.text:
            command += ["--data", args.text]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(os.path.join(run, "log.jsonl")) as f:
            records = [json.loads(line) for line in f]
    predicted = next(r["memory_bytes"] for r in records if r["kind"] == "plan")
    measured = max(r["memory_bytes"] for r in records if r["kind"] == "step")
    worst = max(worst, abs(predicted / measured - 1))
    print(f"| {preset} | {mode} | {checkpointing} | {predicted / 1e6:.1f} | {measured / 1e6:.1f} | {predicted / measured:.3f} |", flush=True)
print(f"\n{len(grid)} configurations, furthest from 1: {worst:.1%}")
sys.exit(worst > 0.10)
