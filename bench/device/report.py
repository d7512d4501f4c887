"""Makes device.json and device.md of what the sections of run.sh have left in a folder. Standard library only.

With a second argument "strict" it fails where a section of ours did, or bits or losses differ.
"""

import json
import pathlib
import statistics
import sys

out = pathlib.Path(sys.argv[1])


def result(name):
    """The JSON that a section printed; None: it printed none."""
    try:
        return json.loads((out / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None


def losses(run):
    """The loss of every step of a run, of the last attempt at it; None: there is no log."""
    found = {}
    try:
        for line in (out / run / "log.jsonl").read_text().splitlines():
            record = json.loads(line)
            if record.get("kind") == "step":
                found[record["step"]] = record["loss"]
    except (OSError, ValueError):
        return None
    return found


def events(run):
    try:
        lines = (out / run / "log.jsonl").read_text().splitlines()
        return [r["code"] for r in map(json.loads, lines) if r.get("kind") == "event"]
    except (OSError, ValueError):
        return []


sections = [line.split("\t") for line in (out / "sections.tsv").read_text().splitlines()]
data = {"sections": [{"name": n, "ended": code, "seconds": int(s)} for n, code, s in sections]}
for name, code, _ in sections:
    if (r := result(name)) is not None:
        data[name] = r
text = ["# Gimbal on a device", ""]
devices = data.get("devices") or []
if devices and devices[0].get("platform") != "cuda":
    text += [f"**Not run on a GPU**: a rehearsal on a plugin of kind {devices[0].get('kind')}.", ""]
machine = (out / "machine.txt")
if machine.exists():
    text += ["```", machine.read_text().strip(), "```", ""]


def table(title, rows):
    names = [n for n, *_ in sections if n in rows and isinstance(data.get(n), dict) and "tokens_per_second" in data[n]]
    if not names:
        return
    text.extend([f"## {title}", "", "| section | model | tokens a step | tokens/s | ms a step | share of peak | "
                 "memory, GB | ready after, s |", "|---|---|---|---|---|---|---|---|"])
    peaks = [data[n]["peak_tflops"] for n in names if data[n].get("peak_tflops")]
    for n in names:
        r = data[n]
        share = r.get("peak_share")
        if not share and peaks:  # of PyTorch: the same operations, by the peak that we measured
            same = next((data[m] for m in names if data[m].get("tflops")), None)
            if same and same["tokens"] == r["tokens"]:
                share = same["tflops"] * same["seconds_per_step"] / r["seconds_per_step"] / statistics.median(peaks)
        memory = r.get("predicted_memory_bytes") or r.get("peak_memory_bytes") or 0
        text.append(f"| {n} | {r['model']}, {r['mode']} | {r['tokens']} | {r['tokens_per_second']:,.0f} | "
                    f"{1e3 * r['seconds_per_step']:.1f} | {100 * share if share else 0:.1f} % | {memory / 1e9:.2f} | "
                    f"{r.get('compile_seconds', 0):.1f} |")
    for size in ("124m", "350m", "10m"):
        speed = {who: [data[n]["tokens_per_second"] for n in names if n.startswith(f"{size}-{who}")]
                 for who in ("ours", "torch")}
        if all(speed.values()):
            ratio = statistics.median(speed["ours"]) / statistics.median(speed["torch"])
            text.append(f"\n{size}: {100 * ratio:.0f} % of compiled PyTorch.")
            data[f"{size}-of-torch"] = ratio
    text.append("")


table("Speed", {n for n, *_ in sections if "-ours" in n or "-torch" in n})
table("Attention, checkpointing and larger batches", {n for n, *_ in sections if n.startswith("124m-") and
                                                     not any(w in n for w in ("-ours", "-torch"))})
for size in ("124m", "350m"):
    bits = [data[f"{size}-ours-{i}"]["bits"] for i in (1, 2) if "bits" in data.get(f"{size}-ours-{i}", ())]
    if len(bits) == 2:
        data[f"{size}-same-bits"] = bits[0] == bits[1]
        text += [f"{size}: two processes came to {'the same' if bits[0] == bits[1] else 'DIFFERENT'} bits.", ""]
if (check := data.get("parity")) and "parity" in check:
    text += ["## Beside the CPU engine", "", "| family | mode | loss | gradient | update | |",
             "|---|---|---|---|---|---|"]
    text += [f"| {p['shape']} | {p['mode']} | {p['loss']:.1e} | {p['gradient']:.1e} | {p['update']:.1e} | "
             f"{'ok' if p['ok'] else 'TOO FAR: ' + p['tensor']} |" for p in check["parity"]]
    text += [""] + [f"- {n}" for n in (check["notes"] or []) + (check["multiplies"] or [])] + [""]
if codes := events("planted"):
    text += [f"The run with a planted NaN had the events {', '.join(codes)}.", ""]
whole = losses("whole")
for run, what in (("lost", "whose process on the device was killed"), ("resumed", "that was killed and resumed")):
    other = losses(run)
    if whole and other:
        same = whole == other
        data[f"{run}-same-losses"] = same
        text += [f"A run {what} has {'the same losses' if same else 'OTHER LOSSES than'} "
                 f"{'as' if same else ''} one that was not ({', '.join(events(run)) or 'no events'}).", ""]
text += ["## Sections", "", "| section | exit code | seconds |", "|---|---|---|"]
text += [f"| {n} | {code} | {s} |" for n, code, s in sections]
bad = [n for n, code, _ in sections if code != "0" and "torch" not in n]
bad += [k for k, v in data.items() if k.endswith(("-same-bits", "-same-losses")) and not v]
(out / "device.json").write_text(json.dumps(data, indent=1) + "\n")
(out / "device.md").write_text("\n".join(text) + "\n")
if sys.argv[2:] == ["strict"] and bad:
    sys.exit(f"not as it should be: {', '.join(bad)}")
