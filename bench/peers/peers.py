#!/usr/bin/env python3
"""Times training steps of Gimbal and of others on the same shapes, in turn, in one run.

Usage, from anywhere in the module:
  bench/peers/peers.py [--gimbal BINARY] [--shape char-10m:64x256] [--shape gpt2-124m:4x1024] [--rounds 3] [--steps 2]
                       [--modes fp32,bf16] [--llmc COMMAND] [--gomlx COMMAND] [--no-torch] [--no-compile] [--threads 2]

In every round each contestant makes some steps, in an order that rotates, so that what disturbs a shared machine
disturbs all of them; ratios are taken within a round and the median over the rounds is what to quote. See README.md
for what each contestant does and how a command of your own takes part. Prints a Markdown report.
"""

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

# Of each preset: layers, width, heads, vocabulary. All are of the GPT-2 shape with a tied head.
SHAPES = {
    "gpt2-124m": (12, 768, 12, 50257),
    "char-10m": (6, 384, 6, 65),
    "nanogpt-cpu": (4, 128, 4, 65),
}


class Absent(Exception):
    """A contestant that cannot take part, and why."""


class Gimbal:
    """`gimbal bench train`: a process each round."""

    def __init__(self, args, shape, mode):
        self.name = f"gimbal {mode}"
        self.mode = mode
        model, batch, context = shape
        self.command = [args.gimbal, "bench", "train", "--json", "--model", model, "--tokens", str(batch * context), "--context", str(context),
                        "--steps", str(args.steps), "--mode", mode, "--workers", str(args.threads), "--checkpointing", args.checkpointing]
        self.note = " ".join(["gimbal"] + self.command[1:])

    def round(self):
        done = subprocess.run(self.command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Absent(done.stderr.strip().splitlines()[0])
        r = json.loads(done.stdout)
        if r["mode"] != self.mode:
            raise Absent(f"asked for {self.mode}, trained in {r['mode']}")
        self.last = r
        return r["seconds_per_step"], r["peak_memory_bytes"]

    def close(self):
        pass


class Torch:
    """PyTorch in a process of its own, which waits while others run."""

    def __init__(self, args, shape, precision, compiled):
        self.name = f"PyTorch {precision}" + (" compiled" if compiled else "")
        self.steps = args.steps
        job = {"shape": shape, "precision": precision, "compiled": compiled, "threads": args.threads}
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--torch-worker", json.dumps(job)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            ready = self.ask(None)
        except Absent:
            self.close()
            raise
        self.note = ready["note"]

    def ask(self, steps):
        if steps is not None:
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.process.stdin.close()
            trouble = [s for s in self.process.stderr.read().strip().splitlines() if s.strip()]
            raise Absent(trouble[-1] if trouble else "ended without a word")
        return json.loads(line)

    def round(self):
        r = self.ask(self.steps)
        return r["seconds"], r["memory"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class Command:
    """A command of the user's that prints lines "seconds S", one for each step or one in all."""

    def __init__(self, args, shape, name, command):
        self.name, self.command, self.note = name, command, command
        model, batch, context = shape
        self.env = dict(os.environ, PEER_MODEL=model, PEER_BATCH=str(batch), PEER_CONTEXT=str(context), PEER_STEPS=str(args.steps),
                        PEER_THREADS=str(args.threads), OMP_NUM_THREADS=str(args.threads))

    def round(self):
        done = subprocess.run(shlex.split(self.command), capture_output=True, text=True, env=self.env)
        found = [float(s) for s in re.findall(r"^seconds ([\d.eE+-]+)", done.stdout, re.M)]
        if done.returncode != 0 or not found:
            raise Absent((done.stderr.strip().splitlines() or ["it printed no line \"seconds S\""])[-1])
        return statistics.median(found), 0

    def close(self):
        pass


def torch_worker(job):
    """Trains as a careful user of PyTorch would: says when it is ready, then makes as many steps as it is told."""
    import time

    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    model_name, batch, context = job["shape"]
    layers, width, heads, vocab = SHAPES[model_name]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            b, t, c = x.shape
            q, k, v = (z.view(b, t, heads, c // heads).transpose(1, 2) for z in self.qkv(self.norm1(x)).split(c, dim=2))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.o(y.transpose(1, 2).reshape(b, t, c))
            return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.position = nn.Embedding(vocab, width), nn.Embedding(context, width)
            self.blocks, self.norm = nn.ModuleList(Block() for _ in range(layers)), nn.LayerNorm(width)
            for p in self.parameters():
                if p.dim() > 1:
                    nn.init.normal_(p, std=0.02)

        def forward(self, tokens, labels):
            x = self.embed(tokens) + self.position(torch.arange(tokens.shape[1]))
            for block in self.blocks:
                x = block(x)
            return F.cross_entropy(F.linear(self.norm(x), self.embed.weight).view(-1, vocab), labels.view(-1))

    torch.manual_seed(1)
    model = GPT()
    forward = torch.compile(model) if job["compiled"] else model
    kind = "fused"
    try:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    except (RuntimeError, TypeError, ValueError):
        kind = "foreach"
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, foreach=True)

    def step():
        tokens = torch.randint(vocab, (batch, context + 1))
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=job["precision"] == "bf16"):
            loss = forward(tokens[:, :-1], tokens[:, 1:].contiguous())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return time.perf_counter() - began

    best, threads = None, 1
    for n in sorted({1, job["threads"]}, reverse=True):  # two steps of each: the first warms up
        torch.set_num_threads(n)
        step()
        seconds = step()
        if best is None or seconds < best:
            best, threads = seconds, n
    torch.set_num_threads(threads)
    print(json.dumps({"note": f"PyTorch {torch.__version__}, {threads} threads, AdamW {kind}, {torch.backends.cpu.get_cpu_capability()}"
                              + (", torch.compile" if job["compiled"] else "")}), flush=True)
    for line in sys.stdin:
        times = [step() for _ in range(int(line))]
        print(json.dumps({"seconds": statistics.median(times), "memory": status("VmHWM") - status("RssFile")}), flush=True)


def status(key):
    """A size of this process in bytes, from Linux; 0 elsewhere."""
    try:
        with open("/proc/self/status") as f:
            found = re.search(rf"^{key}:\s+(\d+) kB", f.read(), re.M)
    except OSError:
        return 0
    return int(found.group(1)) << 10 if found else 0


def cpu_name():
    try:
        with open("/proc/cpuinfo") as f:
            return re.search(r"model name\s*: (.*)", f.read()).group(1)
    except (OSError, AttributeError):
        return platform.processor() or platform.machine()


def parse_modes(text):
    modes = text.split(",")
    if not set(modes) <= {"fp32", "bf16"}:
        raise argparse.ArgumentTypeError("modes are fp32 and bf16")
    return modes


def compete(args, shape):
    """Runs all contestants on one shape; returns the lines of its report."""
    model, batch, context = shape
    entries = [(Gimbal, mode) for mode in args.modes]
    if not args.no_torch:
        entries += [(Torch, precision, compiled) for compiled in ([False] if args.no_compile else [False, True]) for precision in args.modes]
    entries += [(Command, name, command) for name, command in (("llm.c", args.llmc), ("GoMLX", args.gomlx)) if command]
    runners, absent = [], []
    for kind, *what in entries:
        try:
            runners.append(kind(args, shape, *what))
        except Absent as why:
            absent.append(f"{kind.__name__} {what} took no part: {why}")
    seconds = {r.name: [] for r in runners}
    memory = {r.name: 0 for r in runners}
    for i in range(args.rounds):
        first = i % len(runners)
        for r in runners[first:] + runners[:first]:
            if seconds[r.name] is None:
                continue
            try:
                s, m = r.round()
            except Absent as why:
                absent.append(f"{r.name} took no part: {why}")
                seconds[r.name] = None
                continue
            seconds[r.name].append(s)
            memory[r.name] = max(memory[r.name], m)
            print(f"{model} round {i + 1}: {r.name} {s:.3f} s a step", file=sys.stderr)
    for r in runners:
        r.close()
    there = [r for r in runners if seconds[r.name]]
    flops = next((r.last["tflops"] * r.last["seconds_per_step"] for r in there if isinstance(r, Gimbal)), 0)

    lines = [f"### {model}, {batch} x {context} tokens a step", ""]
    ours = [r.name for r in there if isinstance(r, Gimbal)]
    lines.append("| | s/step | tokens/s | TFLOP/s | peak memory, GB |" + "".join(f" {n} is faster by |" for n in ours))
    lines.append("|---|---|---|---|---|" + "---|" * len(ours))
    for r in there:
        s = statistics.median(seconds[r.name])
        cells = [r.name, f"{s:.3f}", f"{batch * context / s:.0f}", f"{flops / s:.3f}" if flops else "",
                 f"{memory[r.name] / 1e9:.2f}" if memory[r.name] else ""]
        for n in ours:
            both = [theirs / mine for theirs, mine in zip(seconds[r.name], seconds[n])]
            cells.append("" if n == r.name else f"{statistics.median(both):.2f} x")
        lines.append("| " + " | ".join(cells) + " |")
    lines += [""] + [f"- {r.name}: {r.note}" for r in there]
    lines += [f"- peak measured by {r.name}: {r.last['peak_tflops']:.3f} TFLOP/s, of which it reached {100 * r.last['peak_share']:.1f} % (last round); tier {r.last['tier']}"
              for r in there if isinstance(r, Gimbal)]
    return lines + [f"- {a}" for a in absent] + [""]


def parse_shape(text):
    found = re.fullmatch(r"([\w-]+):(\d+)x(\d+)", text)
    if not found or found.group(1) not in SHAPES:
        raise argparse.ArgumentTypeError(f"{text}: want PRESET:BATCHxCONTEXT with one of {', '.join(SHAPES)}")
    return found.group(1), int(found.group(2)), int(found.group(3))


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--gimbal", help="binary; default: built from this module")
    ap.add_argument("--shape", type=parse_shape, action="append", help="PRESET:BATCHxCONTEXT, repeatable")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--steps", type=int, default=2, help="steps of a round, each after its own warm-up")
    ap.add_argument("--modes", type=parse_modes, default=["fp32", "bf16"],
                    help="fp32,bf16: leave out bf16 on a CPU without it, where a step takes minutes")
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    ap.add_argument("--checkpointing", default="none", help="of Gimbal: none, attention or block")
    ap.add_argument("--no-torch", action="store_true")
    ap.add_argument("--no-compile", action="store_true", help="without torch.compile, which takes minutes and a C++ compiler")
    ap.add_argument("--llmc", metavar="COMMAND", help="prints \"seconds S\" a step for the shape in PEER_MODEL, PEER_BATCH, PEER_CONTEXT")
    ap.add_argument("--gomlx", metavar="COMMAND", help="likewise")
    ap.add_argument("--torch-worker", help=argparse.SUPPRESS)
    args = ap.parse_args()
    if args.torch_worker:
        torch_worker(json.loads(args.torch_worker))
        return
    os.environ.pop("GIMBAL_KERNEL", None)
    with tempfile.TemporaryDirectory() as tmp:
        if not args.gimbal:
            args.gimbal = os.path.join(tmp, "gimbal")
            subprocess.run(["go", "build", "-o", args.gimbal, "./cmd/gimbal"], cwd=ROOT, check=True, env=dict(os.environ, CGO_ENABLED="0"))
        args.gimbal = os.path.abspath(args.gimbal)
        lines = ["## Training steps, in turn on one machine", "", f"{cpu_name()}, {os.cpu_count()} processors; medians of {args.rounds} rounds of {args.steps} steps;",
                 "ratios are medians of those within a round. TFLOP/s counts 6 for each multiplied parameter and token, and causal attention at half of 12·L·d·T.",
                 "", f"    {' '.join(shlex.quote(a) for a in ['bench/peers/peers.py'] + sys.argv[1:])}", ""]
        for shape in args.shape or [("char-10m", 64, 256), ("gpt2-124m", 4, 1024)]:
            lines += compete(args, shape)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
