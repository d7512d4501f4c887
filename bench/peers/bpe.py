"""Encoding and training of byte-level BPE, against Hugging Face's library, in turns in one sitting.

    pip install tokenizers
    python bench/peers/bpe.py [--rounds N] DATA      (from the root of the repository)

DATA is the folder of the third-party texts. Each side gets documents in memory and one or two workers; the library encodes with
encode_batch_fast, which leaves offsets out. Ids are compared document by document, and merges one by one. `nice -n -10` before
python gives both sides the same rank on a shared machine.
"""

import argparse
import glob
import gzip
import hashlib
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time

QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def library():
    """Answers requests on stdin: this process has RAYON_NUM_THREADS of its own."""
    import tokenizers
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    for line in sys.stdin:
        ask = json.loads(line)
        docs = pathlib.Path(ask["text"]).read_bytes().decode().split("\0")[:-1]
        h = hashlib.sha256()
        if ask["tokenizer"]:
            tok = Tokenizer.from_file(ask["tokenizer"])
            tok.encode_special_tokens = True
            began = time.perf_counter(), time.process_time()
            got = tok.encode_batch_fast(docs, add_special_tokens=False)
            took = time.perf_counter() - began[0], time.process_time() - began[1]
            for e in got:
                h.update(hashlib.sha256(struct.pack(f"<{len(e.ids)}i", *e.ids)).hexdigest().encode())
            del got
        else:
            tok = Tokenizer(models.BPE())
            tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2), "isolated"),
                                                         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
            began = time.perf_counter(), time.process_time()
            tok.train_from_iterator(docs, trainers.BpeTrainer(vocab_size=ask["vocab"] - 1, min_frequency=2, show_progress=False,
                                                              initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
            took = time.perf_counter() - began[0], time.process_time() - began[1]
            merges = [" ".join(m) for m in json.loads(tok.to_str())["model"]["merges"]]
            for m in merges:
                h.update((m + "\n").encode())
            pathlib.Path(ask["text"] + ".theirs").write_text(f"[{' '.join(merges)}]\n")
        print(json.dumps({"seconds": took[0], "cpu": took[1], "hash": h.hexdigest(), "version": tokenizers.__version__}), flush=True)


if sys.argv[1:] == ["library"]:
    library()
    sys.exit()

args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
args.add_argument("data", metavar="DATA", type=pathlib.Path)
args.add_argument("--rounds", type=int, default=5)
args.add_argument("--megabytes", type=float, default=10, help="of each text to encode")
args.add_argument("--only", choices=["encode", "train"])
args = args.parse_args()
work = pathlib.Path(tempfile.mkdtemp())
subprocess.run(["go", "test", "-c", "-o", work / "peer", "./internal/tokenizer"], check=True)


def jsonl(name):
    with gzip.open(args.data / name, "rt", encoding="utf-8", newline="") as f:
        return [json.loads(line)["text"] for line in f]


def source(limit):
    root = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    docs, size = [], 0
    for name in sorted(glob.glob(root + "/src/**/*.go", recursive=True)):
        try:
            text = open(name, encoding="utf-8", newline="").read()
        except UnicodeDecodeError:
            continue  # the library takes text only
        if "\0" in text:
            continue
        docs.append(text)
        size += len(text.encode())
        if size > limit:
            break
    return docs


def put(name, docs):
    path = work / name
    path.write_bytes("".join(d + "\0" for d in docs).encode())
    return path, sum(len(d.encode()) for d in docs)


tokens = {}
for name in ("gpt2", "qwen3"):
    tokens[name] = work / f"{name}.json"
    tokens[name].write_bytes(gzip.open(args.data / "tokenizers" / f"{name}.tokenizer.json.gz").read())
workers = {n: subprocess.Popen([sys.executable, __file__, "library"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "RAYON_NUM_THREADS": str(n), "TOKENIZERS_PARALLELISM": "true" if n > 1 else "false"})
           for n in (1, 2)}


def theirs(n, text, tokenizer, vocab):
    w = workers[n]
    w.stdin.write(json.dumps({"text": str(text), "tokenizer": str(tokenizer) if tokenizer else None, "vocab": vocab}) + "\n")
    w.stdin.flush()
    return json.loads(w.stdout.readline())


def ours(n, text, tokenizer, vocab):
    words = [work / "peer", "-test.run", "TestPeer$", "-peer", text, "-peer-workers", str(n), "-peer-vocab", str(vocab)]
    out = subprocess.run(words + (["-peer-tokenizer", tokenizer] if tokenizer else []), capture_output=True, text=True, check=True).stdout
    return json.loads(next(line for line in out.splitlines() if line.startswith("peer "))[5:])


def compare(what, text, size, tokenizer, vocab, rounds):
    """Times of the clock, and of the processor over all threads: other work on the machine changes the first and hardly the second."""
    clock, cpu, hashes = {}, {}, set()
    for _ in range(rounds):
        for n in (1, 2):
            for side, call in (("ours", ours), ("theirs", theirs)):
                r = call(n, text, tokenizer, vocab)
                clock.setdefault((side, n), []).append(r["seconds"])
                cpu.setdefault((side, n), []).append(r["cpu"])
                hashes.add(r["hash"])

    def ratio(times, a, b):
        return statistics.median(x / y for x, y in zip(times[a], times[b]))

    cells = [f"{size / 1e6 / statistics.median(cpu[side, 1]):.1f}" for side in ("ours", "theirs")]
    cells += [f"{ratio(t, ('theirs', n), ('ours', n)):.2f}" for t in (cpu, clock) for n in (1, 2)]
    cells += [f"{2 * ratio(cpu, ('ours', 1), ('ours', 2)):.2f}", f"{ratio(clock, ('ours', 1), ('ours', 2)):.2f}"]
    print(f"| {what} | {size / 1e6:.1f} | {' | '.join(cells)} | {'same' if len(hashes) == 1 else 'OTHER'} |", flush=True)


print(f"tokenizers {__import__('tokenizers').__version__}, python {sys.version.split()[0]}, {args.rounds} rounds, medians\n")
print("| what | MB | ours, MB/s of one core | theirs | ours/theirs: CPU, 1 worker | CPU, 2 | clock, 1 | clock, 2 "
      "| ours, 2 workers/1: by CPU (2 is ideal) | by the clock | result |")
print("|---|---|---|---|---|---|---|---|---|---|---|")


def head(docs):
    left, out = args.megabytes * 1e6, []
    for d in docs:
        if left > 0:
            out.append(d)
            left -= len(d.encode())
    return out


sotu = jsonl("sotu.jsonl.gz")
texts = {"English prose": put("sotu", head(sotu)), "Go source": put("go", source(args.megabytes * 1e6)),
         "Chinese poems": put("tang", head(jsonl("tang-poems-zh.jsonl.gz")))}
for name, tokenizer in tokens.items() if args.only != "train" else []:
    for kind, (text, size) in texts.items():
        compare(f"encode {kind}, {name}", text, size, tokenizer, 0, args.rounds)
if args.only == "encode":
    sys.exit()
text, size = put("thirty", sotu + source(30e6 - sum(len(d.encode()) for d in sotu)))
compare("train 32,768", text, size, None, 32768, max(1, args.rounds // 2))
a, b = ((work / f"thirty.{end}").read_text().split() for end in ("merges", "theirs"))
if a != b:
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    print(f"\nmerges: {len(a) // 2} and {len(b) // 2}, the first {at // 2} are the same")
