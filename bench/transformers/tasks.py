"""Compares answers to tasks with those of lm-evaluation-harness.

    pip install torch transformers lm-eval
    T=internal/evaluate/testdata
    python $T/harness.py MODEL theirs.json
    for t in endings science ways sums; do gimbal eval MODEL --device cpu --tasks $T/tasks/$t.jsonl --json; done > ours.json
    python bench/transformers/tasks.py ours.json theirs.json

Exit status 1 if a log-likelihood differs by more than 0.01 nats, or a metric differs.
"""

import json
import pathlib
import sys

text, theirs = pathlib.Path(sys.argv[1]).read_text(), json.loads(pathlib.Path(sys.argv[2]).read_text())["tasks"]
ours, at, decoder = [], 0, json.JSONDecoder()
while at < len(text.rstrip()):
    more, at = decoder.raw_decode(text, at)
    ours, at = ours + more, at + 1
wrong = 0
for task in ours:
    other = theirs[task["name"]]
    off, same = 0.0, 0
    for a, b in zip(task["answers"], other["items"], strict=True):
        for x, y in zip(a.get("loglikelihoods", []), b.get("loglikelihoods", []), strict=True):
            off = max(off, abs(x - y))
        same += a.get("text") == b.get("text")
    metrics = {m["name"]: m["value"] for m in task["metrics"]}
    want = {k.split(",")[0] if k.endswith("none") else k.split(",")[1].replace("strict", "exact_match"): v
            for k, v in other["metrics"].items() if "stderr" not in k}
    wrong += off > 0.01 or any(abs(metrics[k] - v) > 1e-9 for k, v in want.items())
    print(task["name"], metrics, want, f"log-likelihoods differ by up to {off:.2g}; {same} of {task['items']} texts equal")
sys.exit(wrong > 0)
