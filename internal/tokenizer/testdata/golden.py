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
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

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
files = sorted(glob.glob(os.path.join(made, "*.json"))) + [os.path.join(data, "tokenizers", n + ".tokenizer.json.gz") for n in ("gpt2", "qwen3")]


def load(path):
    raw = gzip.open(path).read() if path.endswith(".gz") else open(path, "rb").read()
    return Tokenizer.from_str(raw.decode())


for path in files:
    tok = load(path)
    name = os.path.basename(path).removesuffix(".gz").removesuffix(".json").removesuffix(".tokenizer")
    for t in {"bytes": SOME, "chars:tinyshakespeare.txt": TEXTS[:1], "bpe-gpt2:tinyshakespeare.txt": SOME,
              "bpe-llama3:tinyshakespeare.txt": SOME, "bpe:tinyshakespeare.txt": SOME}.get(name, TEXTS):
        s = text(t)
        # Without a split the library takes quadratic time for a long text; no
        # piece crosses a line there, so lines serve as well.
        parts = s.splitlines(keepends=True) if name == "bytes" or name.startswith("chars") else [s]
        got = [i for e in tok.encode_batch(parts) for i in e.ids]
        normal = tok.normalizer.normalize_str(s) if tok.normalizer else s
        assert tok.decode(got) == normal, (name, t)
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

# Texts that are hard in themselves: decomposed, emoji, right to left, control characters, long runs of marks, added tokens.
HARD = [
    "e\u0301 E\u0300 a\u0323\u0302 a\u0302\u0323 \u212b \u2126 \u1100\u1161\u11a8 \uac00\u11a8 \u304b\u3099 \u0958 \ufb1d",
    "Vie\u0302\u0323t Nam, cafe\u0301, nai\u0308ve, A\u030angstro\u0308m",
    "e" + "\u0301" * 40 + "x" + "\u0323\u0301" * 25 + " \u0344" * 12 + "a" + "\u0344" * 31,
    "\u0301\u0301 at the start, \n\u0301 after a break, \u07fd\u0301 e\u07fd\u0323\u0301 \U00011935\U00011930",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd \u2764\ufe0f \u0031\ufe0f\u20e3",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 \u200f\u202b\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd\u202c \u05d1\u05b0\u05bc\u05e8\u05b5\u05d0\u05e9\u05b4\u05c1\u05d9\u05ea",
    "\x00\x01\x02\x1b[31mred\x1b[0m\x7f\x80\x85\u2028\u2029\ufeff\ufffd\ufffe\uffff\U0010ffff\r\n\r\n\t\v\f",
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01\u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8 \ud55c\uad6d\uc5b4 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0939\u093f\u0928\u094d\u0926\u0940",
    "12345 1,234.56 0x1F \u0663\u0664\u0665 \u2163\u00bd\u2460 10\u2070", "I'm you're WE'VE they'LL it'S 'tis ''s d'd", " " * 80 + "x" + "\n" * 70 + " \n \n  y\t\t\t",
    "a" * 3000 + " " + "ab" * 1000 + "!" * 500, "", " ", "\n",
    "<|endoftext|><|im_start|>user\nHi<|im_end|>\n<think>\n</think>  <tool_call>{}</tool_call><|fim_prefix|>",
    "<thin><think<think><|endoftext|", "a <think> b\n<think>\n c", "<think>\u0301e\u0301<think>",
]
hard = []
ignore = os.path.join(made, "bpe-llama3:tinyshakespeare.txt.json")
for path in files[-2:] + [ignore]:
    tok = load(path)
    name = os.path.basename(path).removesuffix(".gz").removesuffix(".json").removesuffix(".tokenizer")
    if path == ignore:  # as Llama 3's own: a piece that is a token is not merged
        d = json.loads(tok.to_str())
        d["model"]["ignore_merges"] = True
        d["model"]["vocab"]["\u0120thou\u0120art"] = d["added_tokens"][0]["id"]  # no piece
        d["added_tokens"][0]["id"] += 1
        d["model"]["vocab"]["qzqz"] = d["added_tokens"][0]["id"]  # a piece that no merges make
        d["added_tokens"][0]["id"] += 1
        d["post_processor"] = {"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
            {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
             "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [d["added_tokens"][0]["id"]], "tokens": ["<|endoftext|>"]}}}]}
        tok = Tokenizer.from_str(json.dumps(d))
    for t in HARD + ["qzqz thou art qzqzq"]:
        row = {"tokenizer": name, "text": t}
        for key, plain in (("plain", True), ("special", False)):
            tok.encode_special_tokens = plain
            row[key] = tok.encode(t, add_special_tokens=False).ids
        hard.append(row)

# Every character among marks, and marks at random, in normalization form C.
nfc = normalizers.NFC()
h = hashlib.sha256()
for c in list(range(0xD800)) + list(range(0xE000, 0x110000)):
    h.update(nfc.normalize_str("a" + chr(c) + "\u0323\u0301" + chr(c) + "\u0315" + chr(c)).encode() + b"\n")
MARKS = [chr(c) for c in range(0x300, 0x370)] + list("\u05b0\u0345\u0344\u1161\u11a8\u3099\u0f71\u0f74\u0f73\u07fd")
BASES = list("aeoAEO ") + list("\u1100\uac00\u304b\u0b47\u0b56\u0cc6\u1fbf\u2126\u212b\ufb1d\U0001d15e")
normal = [["".join(rnd.choice(MARKS if rnd.random() < 0.8 else BASES) for _ in range(rnd.randint(1, 90)))] for _ in range(60)]
for row in normal:
    row.append(nfc.normalize_str(row[0]))

print("{")
print(f' "library": "tokenizers {tokenizers.__version__}",')
print(f' "nfc_hash": "{h.hexdigest()}",')
for key, rows in [("ids", ids), ("merges", merges), ("hard", hard), ("nfc", normal)]:
    print(f' "{key}": [\n  ' + ",\n  ".join(json.dumps(r) for r in rows) + "\n ],")
print(' "splits": [\n  ' + ",\n  ".join(
    '{"pattern": ' + json.dumps(s["pattern"]) + ', "cases": [\n   ' + ",\n   ".join(json.dumps(c) for c in s["cases"]) + "\n  ]}" for s in splits) + "\n ]\n}")
