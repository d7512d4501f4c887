"""Measures the judge on real runs of the command: does it stop what should be stopped, and does it choose well?

    python3 judge.py push    TEXT           five seeds pushed into repetition, and five that are not
    python3 judge.py choose  NAME=PATH ...  the checkpoint chosen by steadiness, by loss, and by the literal rule

GIMBAL names the binary (default: gimbal), OUT the folder for the runs (default: a new one). Runs are tiny: seconds each.
"""
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

GIMBAL = os.environ.get("GIMBAL", "gimbal")
OUT = pathlib.Path(os.environ.get("OUT") or tempfile.mkdtemp(prefix="judge-"))


def gimbal(*args):
    p = subprocess.run([GIMBAL, *map(str, args)], capture_output=True, text=True)
    if p.returncode:
        sys.exit(f"gimbal {' '.join(map(str, args))}: exit {p.returncode}\n{p.stderr[-2000:]}")
    return p.stdout


def train(out, data, *args, **sets):
    flags = [x for k, v in sets.items() for x in ("--set", f"{k.replace('__', '.')}={v}")]
    return json.loads(gimbal("train", "--data", data, "--out", out, "--json", *args, *flags))


def records(run, kind):
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [r for r in rows if r["kind"] == kind]


TINY = dict(model__layers=2, model__width=64, model__heads=1, schedule__warmup=50, checkpoint__keep=100, optim__lr=0.004)


def push(text):
    steps, every, at = 900, 75, 526  # the evaluation at 525 is the last before the push
    sets = dict(TINY, tokenizer__kind="chars", train__context=192, train__batch_tokens=1152, eval__every=every, eval__prompts=20, eval__samples=3, eval__max_tokens=128)
    print("| seed | pushed at | stopped at | evaluations after the push | kept | control (not pushed) | literal rule on the control |\n|---|---|---|---|---|---|---|")
    good = 0
    for seed in range(1, 6):
        run = OUT / f"push-{seed}"
        r = train(run, text, "--steps", steps, "--seed", seed, "--inject", f"repetition@{at}", **sets)
        kept = int(re.search(r"step-(\d+)", r["stable"])[1])
        after = -(-(r["step"] - at) // every) if r["reason"] == "stopped early" else None
        c = train(OUT / f"control-{seed}", text, "--steps", steps, "--seed", seed, **sets)
        literal = train(OUT / f"literal-{seed}", text, "--steps", steps, "--seed", seed, **sets, judge__early_stop="article")
        ok = after is not None and after <= 3 and kept < at and c["reason"] == "done"
        good += ok
        print(f"| {seed} | {at} | {r['step'] if after else 'not'} | {after} | step {kept} | {c['reason']} at {c['step']} | {literal['reason']} at {literal['step']} |")
    print(f"\n{good} of 5 seeds as wanted")


def choose(tasks):
    """The criterion is held out: other prompts and other draws than those that the rules have seen."""
    print("| task | seed | rule | step | loss | outside the n-gram band | parses | finish rate (people) | excess rep-4 |\n|---|---|---|---|---|---|---|---|---|")
    totals = {}
    for name, path in tasks:
        for seed in (1, 2, 3):
            run = OUT / f"choose-{name}-{seed}"
            sets = dict(TINY, train__context=128, train__batch_tokens=2048, eval__every=100, eval__prompts=20, eval__samples=3, eval__max_tokens=96,
                        tokenizer__vocab_size=1024, data__val_fraction=0.2, judge__early_stop="off")
            r = train(run, path, "--steps", 2000, "--seed", seed, **sets)
            evals = records(run, "eval")
            at = {"stable": int(re.search(r"step-(\d+)", r["stable"])[1])}
            at["loss"] = min(evals, key=lambda e: e["val_loss_sample"])["step"]
            window = [(statistics.variance(e["rep4"] for e in evals[i - 2:i + 1]), evals[i]["step"]) for i in range(2, len(evals))]
            at["article"] = min(window)[1]
            measured = {}
            for step in set(at.values()):
                measured[step] = json.loads(gimbal("eval", run, "--checkpoint", f"step-{step}", "--seed", 1000 + seed, "--json"))
            for rule, step in at.items():
                e = measured[step]
                m = e["writing"]["metrics"]
                band = m["garbled"]["value"] + m["predictable"]["value"]
                parses = m.get("parses", {}).get("value")
                finish, people = m["finish_rate"]["value"], m["finish_rate"]["human"]
                rep = m["rep4"]["value"] - m["rep4"]["human"]
                print(f"| {name} | {seed} | {rule} | {step} | {e['val_loss']:.4f} | {band:.3f} | {'–' if parses is None else f'{parses:.3f}'} | {finish:.2f} ({people:.2f}) | {rep:+.4f} |", flush=True)
                totals.setdefault(rule, []).append((e["val_loss"], band, parses, abs(finish - people), rep))
    print("\n| rule | mean loss | outside the band | parses | finish rate off by | excess rep-4 |\n|---|---|---|---|---|---|")
    for rule, rows in totals.items():
        mean = lambda k: statistics.mean(row[k] for row in rows if row[k] is not None) if any(row[k] is not None for row in rows) else float("nan")
        print(f"| {rule} | {mean(0):.4f} | {mean(1):.4f} | {mean(2):.4f} | {mean(3):.4f} | {mean(4):+.4f} |")


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("push", "choose"):
        sys.exit(__doc__)
    print(f"runs in {OUT}", file=sys.stderr)
    if sys.argv[1] == "push":
        push(sys.argv[2])
    else:
        choose([a.split("=", 1) for a in sys.argv[2:]])
