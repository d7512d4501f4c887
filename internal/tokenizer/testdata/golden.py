"""Records what Hugging Face's `tokenizers` makes of the tokenizers of this package.

    pip install tokenizers
    go test ./internal/tokenizer -run 'TestGolden$' -write DIR
    python internal/tokenizer/testdata/golden.py DIR DATA > internal/tokenizer/testdata/golden.json

DATA is the folder of the third-party texts; with a third folder the merges are
written there. Beside the values, which go to
stdout, it checks that decoding gives the text back (the script fails if not).
"""
import glob, gzip, hashlib, json, os, random, struct, sys
import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

made, data = sys.argv[1:3]


def text(name):
    path = os.path.join(data, name)
    if not name.endswith(".gz"):
        return open(path, encoding="utf-8", newline="").read()
    with gzip.open(path, "rt", encoding="utf-8", newline="") as f:
        return "\n".join(json.loads(line)["text"] for line in f.read().split("\n") if line)


TEXTS = ["tinyshakespeare.txt", "perlfaq.jsonl", "gsm8k-test.jsonl", "sotu.jsonl.gz", "tang-poems-zh.jsonl.gz"]

ids = []
SOME = TEXTS[:3]
files = sorted(glob.glob(os.path.join(made, "*.json"))) + [os.path.join(data, "tokenizers", "gpt2.tokenizer.json.gz")]
for path in files:
    raw = gzip.open(path).read() if path.endswith(".gz") else open(path, "rb").read()
    tok = Tokenizer.from_str(raw.decode())
    name = os.path.basename(path).removesuffix(".gz").removesuffix(".json").removesuffix(".tokenizer")
    for t in {"bytes": SOME, "chars:tinyshakespeare.txt": TEXTS[:1], "bpe-gpt2:tinyshakespeare.txt": SOME,
              "bpe-llama3:tinyshakespeare.txt": SOME, "bpe:tinyshakespeare.txt": SOME}.get(name, TEXTS):
        s = text(t)
        # Without a split the library takes quadratic time for a long text; no
        # piece crosses a line there, so lines serve as well.
        parts = s.splitlines(keepends=True) if name == "bytes" or name.startswith("chars") else [s]
        got = [i for e in tok.encode_batch(parts) for i in e.ids]
        assert tok.decode(got) == s, (name, t)
        ids.append({"tokenizer": name, "text": t, "tokens": len(got),
                    "hash": hashlib.sha256(struct.pack(f"<{len(got)}i", *got)).hexdigest()})

PATTERNS = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]


def pre(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


merges = []
for t, size in [("tinyshakespeare.txt", 1024), ("sotu.jsonl.gz", 8192), ("tang-poems-zh.jsonl.gz", 1500), ("gsm8k-test.jsonl", 60000)]:
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre(PATTERNS[1])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator([text(t)], trainers.BpeTrainer(
        vocab_size=size - 1, min_frequency=2, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    m = [" ".join(p) for p in json.loads(tok.to_str())["model"]["merges"]]
    merges.append({"text": t, "vocab_size": size, "merges": len(m),
                   "hash": hashlib.sha256("".join(p + "\n" for p in m).encode()).hexdigest()})
    if len(sys.argv) > 3:
        open(os.path.join(sys.argv[3], t + ".merges"), "w").write("\n".join(m))

# Texts that stand at the edges of the patterns.
ALPHABET = [" ", " ", " ", "\n", "\r", "\t", "\v", "\x85", "\u00a0", "\u2003", "\u2028", "\u3000", "'", "'", "s", "S", "t", "re", "VE",
            "ll", "L", "d", "m", "\u017f", "a", "Z", "\u00e9", "e\u0301", "\u4e2d", "\u0633", "\U00020000", "1", "23", "\u00bd", "\u0664",
            "\u2167", "\u4e00", "\U0001d7d9", ".", "!", "--", "_", "\u200d", "\u200b", "\ufeff", "\U0001f600", "\ufffd", "\x00", "\x7f", "\u0300", "$",
            "\u1c89", "\U000105c0", "\U00010d40", "\U0002ebf0", "\U000323af", "\U000e0100"]
rnd = random.Random(1)
texts = ["".join(rnd.choices(ALPHABET, k=rnd.randint(1, 14))) for _ in range(250)]
splits = []
for pattern in PATTERNS:
    p = pre_tokenizers.Split(Regex(pattern), "isolated")
    splits.append({"pattern": pattern, "cases": [[s for s, _ in p.pre_tokenize_str(t)] for t in texts]})

print("{")
print(f' "library": "tokenizers {tokenizers.__version__}",')
for key, rows in [("ids", ids), ("merges", merges)]:
    print(f' "{key}": [\n  ' + ",\n  ".join(json.dumps(r) for r in rows) + "\n ],")
print(' "splits": [\n  ' + ",\n  ".join(
    '{"pattern": ' + json.dumps(s["pattern"]) + ', "cases": [\n   ' + ",\n   ".join(json.dumps(c) for c in s["cases"]) + "\n  ]}" for s in splits) + "\n ]\n}")
