"""Records what Hugging Face's `tokenizers` makes of tokenizer.json files of the kinds that decoders ship.

    pip install tokenizers
    python internal/tokenizer/testdata/kinds.py > internal/tokenizer/testdata/kinds.json

Vocabularies are trained here on texts of our own; the kinds differ in what is around them.
"""

import copy, json, random, sys
import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TRAIN = [
    "The quick brown fox didn't jump over 12 lazy dogs; it isn't what we'll say in 2024.",
    "A tokenizer cuts text into pieces, merges pairs of pieces, and gives each piece a number.",
    "She said: they've read the 1st, 2nd and 33rd books, haven't they? It's 10:45, and I'm late!",
    "func main() {\n\tfor i := 0; i < 100; i++ {\n\t\tfmt.Println(\"hello, world\", i*i)\n\t}\n}\n",
    "def f(x):\n    return x ** 2 + 1  # a comment\n\nclass HTTPServer(Base):\n    pass\n",
    "Der Übergang führt über eine größere Brücke; déjà vu, naïve café, señor, où êtes-vous?",
    "你好，世界。今天天气很好，我们去看书。文字处理是一个有趣的问题。",
    "ひらがなとカタカナ、そして漢字のテスト。コーヒーを飲む。",
    "Привет, мир! Как дела? Это просто текст для проверки.",
    "한국어 문장도 조금 있습니다.",
    "    indented\n        more\n\n\n  end   \t tabs\t\t",
    "price: $3.50 (+7%) -> ok... [see #42] <tag/> a_b-c/d@e.com",
] * 3

# Texts that are hard: spaces, breaks, marks, signs, digits, cases, special tokens, what no vocabulary has.
HARD = [
    "",
    " ",
    "  ",
    "\n",
    "a",
    "▁",
    "Hello world",
    " Hello",
    "  Hello",
    "Hello ",
    "Hello  ",
    "   lead and trail   ",
    "tabs\t\tand\n\nbreaks\r\n\r\nx",
    "the quick brown fox",
    "The  Quick   Brown    Fox",
    "I'm you're WE'VE they'LL it'S 'tis ''s d'd o'clock ſ'ſ",
    "don't",
    "HTTPServerCamelCase iPhoneXS ABCdef abcDEF ÀÉÎôü ǅ",
    "12345 1,234.56 0x1F 3rd ٣٤٥ Ⅳ½② 10⁰ 2024-11-28",
    "a1b22c333d4444e55555",
    " 7 77 777 7777",
    "x²+y³=z¹ ¼½¾ ü\u00bc",
    "你好，世界！今天",
    "文字abc漢字123ひらがなカタカナー・ヷ゙゛",
    "Привет, МИР",
    "한국어 문장",
    "مرحبا بالعالم שלום",
    "हिन्दी भाषा ภาษาไทย ก้",
    "e\u0301 E\u0300 a\u0323\u0302 a\u0302\u0323 Å Ω \u1100\u1161\u11a8 か\u3099",
    "e" + "\u0301" * 12 + "x\u0301\u0323",
    "\u0301abc \u0301ABC 中ABC ABC中 A\u0301B aB\u0301c",
    "😀👨‍👩‍👧‍👦 🇩🇪 👍🏽 ❤️ 1️⃣",
    "!!! ... --- ??? “quotes” ‘x’ «y» …—–",
    "!\n/ ...\r\n//\n\n///",
    "a/b//c\n/d",
    "#$%^&*()_+-=[]{}|\\;:'\",.<>/?`~",
    "\x00\x01\x1b[31mred\x1b[0m\x7f\x80\x85\u2028\u2029\ufeff\ufffd\uffff\U0010ffff",
    "\u00a0nbsp\u3000wide\u2003em\u200bzero\u200djoin",
    "a\n b\n  c\n\td \n e",
    "\n\n\n  \n x",
    "x \n",
    "x\n ",
    "   \n\n   y",
    "a" * 70,
    "ab" * 60 + "!" * 70,
    " " * 70 + "x",
    "\n" * 20 + "y",
    "aaaa aaa aa a bbbb",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "<s>Hi</s>",
    "a <s> b </s> c",
    "<s><s>x",
    "<|user|>\nHello <|end|>\n<|assistant|>  \n ok",
    "x<|user|>y<|end|> z",
    " <mask> a<mask>b  <mask>  c <mask>",
    "foo<word>bar <word> <word>. a_<word> <word>é é<word>",
    "<think>\nx\n</think>\n\n",
    "<thin<think<think>",
    "caf\u00e9 cafe\u0301 CAFE\u0301",
    "<unk> <0x41> <0x0A>",
    "▁Hello▁▁world ▁",
    "(a) |b|, c.d! ( x",
    "Straße ﬁn ① ｶﾞ Å ² ㋿ İI ẞ",
    "http://example.com/a?b=c&d=1#e",
    "q\u1c89\U000105c0\U00010d40\U0002ebf0\U000e0100 \u061d᙭",
    "\u4dff\u9fa6龥一\u309f\u3040ヿ\u30a0",
]
rnd = random.Random(7)
PARTS = [
    " ",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "'",
    "s",
    "re",
    "LL",
    "a",
    "Z",
    "é",
    "e\u0301",
    "中",
    "の",
    "ー",
    "\u3099",
    "1",
    "23",
    "456",
    "½",
    "²",
    "ü",
    ".",
    "!",
    "--",
    "_",
    "/",
    "▁",
    "😀",
    "\u200d",
    "\ufffd",
    "\x00",
    "$",
    "Hello",
    "World",
    "the",
    "<s>",
    "<|end|>",
    "<word>",
    "<mask>",
    "<think>",
    "A",
    "\u00a0",
    "\u3000",
    "，",
    "ʰ",
    "ǅ",
    "ก้",
    "가",
]
HARD += ["".join(rnd.choices(PARTS, k=rnd.randint(3, 16))) for _ in range(60)]

SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{c:02X}>" for c in range(256)]


def trained(model, trainer, pre):
    tok = Tokenizer(model)
    tok.pre_tokenizer = pre
    tok.train_from_iterator(TRAIN, trainer)
    return json.loads(tok.to_str())["model"]


def byte_level():
    m = trained(
        models.BPE(),
        trainers.BpeTrainer(
            vocab_size=480, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
        ),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    )
    return {"type": "BPE", "vocab": m["vocab"], "merges": [" ".join(p) for p in m["merges"]]}


def sentence_piece(split):
    m = trained(
        models.BPE(),
        trainers.BpeTrainer(vocab_size=260, show_progress=False, limit_alphabet=90),
        pre_tokenizers.Metaspace(prepend_scheme="always", split=split),
    )
    names = SPECIAL + BYTES + sorted(m["vocab"], key=m["vocab"].get)
    return {
        "type": "BPE",
        "vocab": {n: i for i, n in enumerate(names)},
        "merges": m["merges"],
        "unk_token": "<unk>",
        "fuse_unk": True,
        "byte_fallback": True,
    }


def unigram():
    m = trained(
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=200, show_progress=False, special_tokens=SPECIAL, unk_token="<unk>"),
        pre_tokenizers.Metaspace(prepend_scheme="always"),
    )
    vocab = [[t, s] for t, s in m["vocab"] if len(t) < 2 or t[0] != "<" or t in SPECIAL]
    return {"type": "Unigram", "unk_id": 0, "vocab": vocab + [["aa", -4.5]], "byte_fallback": False}


MODELS = {"bytes": byte_level(), "words": sentence_piece(True), "lines": sentence_piece(False), "unigram": unigram()}
MODELS["unigram bytes"] = copy.deepcopy(MODELS["unigram"])
MODELS["unigram bytes"]["vocab"][3:3] = [[b, 0.0] for b in BYTES]
MODELS["unigram bytes"]["byte_fallback"] = True


def token(content, special=True, normalized=False, **edges):
    return {
        "content": content,
        "special": special,
        "normalized": normalized,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        **edges,
    }


def seq(kind, key, *parts):
    return {"type": kind, key: list(parts)}


def pres(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)} if len(parts) > 1 else parts[0]


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def level(use_regex=False, add_prefix_space=False):
    return {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": use_regex}


def meta(scheme, split):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


def digits(each):
    return {"type": "Digits", "individual_digits": each}


def norms(*parts):
    return {"type": "Sequence", "normalizers": list(parts)}


PREPEND, REPLACE = {"type": "Prepend", "prepend": "▁"}, {
    "type": "Replace",
    "pattern": {"String": " "},
    "content": "▁",
}
NFC, NFD, NFKC, NFKD, LOWER, STRIP = (
    {"type": t} for t in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents")
)
BLANKS = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
FALLBACK, FUSE, CUT = (
    {"type": "ByteFallback"},
    {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0},
)
LLAMA = {"type": "Sequence", "decoders": [BLANKS, FALLBACK, FUSE, CUT]}
KEEP = {"type": "Sequence", "decoders": [BLANKS, FALLBACK, FUSE]}
LEVEL = level(True, True)
FOLD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100K = FOLD + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
TIKTOKEN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
UP, LOW = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = rf"[^\r\n\p{{L}}\p{{N}}]?{UP}*{LOW}+{FOLD}?|[^\r\n\p{{L}}\p{{N}}]?{UP}+{LOW}*{FOLD}?|\p{{N}}{{1,3}}" + CASED
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{UP}*{LOW}+|[^\r\n\p{{L}}\p{{N}}]?{UP}+{LOW}*|\p{{N}}" + CASED
QWEN35 = FOLD + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
EDGES = [
    token("<s>"),
    token("</s>"),
    token("<|user|>", rstrip=True),
    token("<|end|>", rstrip=True),
    token("<|assistant|>", rstrip=True),
    token("<mask>", special=False, lstrip=True),
    token("<word>", special=False, single_word=True),
    token("<think>", special=False, lstrip=True, rstrip=True),
    token("caf\u00e9", special=False, normalized=True),
]

# name, model, and what differs from a file without anything around the model.
KINDS = [
    ("llama 2", "words", dict(normalizer=norms(PREPEND, REPLACE), decoder=LLAMA)),
    ("phi 3", "words", dict(normalizer=norms(PREPEND, REPLACE), decoder=LLAMA, added_tokens=EDGES)),
    ("mistral", "words", dict(pre_tokenizer=meta("first", False), decoder=LLAMA, added_tokens=EDGES)),
    (
        "metaspace always",
        "words",
        dict(pre_tokenizer=meta("always", True), decoder=seq("Sequence", "decoders", FALLBACK, meta("always", True))),
    ),
    (
        "metaspace old",
        "words",
        dict(
            pre_tokenizer={"type": "Metaspace", "replacement": "▁", "add_prefix_space": True},
            decoder=seq(
                "Sequence", "decoders", FALLBACK, {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
            ),
        ),
    ),
    ("metaspace never", "lines", dict(pre_tokenizer=meta("never", False), decoder=KEEP)),
    ("metaspace digits", "lines", dict(pre_tokenizer=pres(meta("never", False), digits(True)), decoder=KEEP)),
    (
        "gemma",
        "lines",
        dict(
            normalizer=REPLACE,
            pre_tokenizer={
                "type": "Split",
                "pattern": {"String": " "},
                "behavior": "MergedWithPrevious",
                "invert": False,
            },
            decoder=KEEP,
            added_tokens=[token("\n\n", False), token("▁▁", False), token("<think>", False)],
        ),
    ),
    ("lines across words", "lines", dict(normalizer=REPLACE, decoder=KEEP)),
    (
        "unknown fused",
        "words",
        dict(normalizer=norms(PREPEND, REPLACE), decoder=LLAMA, model=dict(byte_fallback=False)),
    ),
    (
        "unknown",
        "words",
        dict(pre_tokenizer=meta("always", True), decoder=LLAMA, model=dict(byte_fallback=False, fuse_unk=False)),
    ),
    (
        "normalized added",
        "words",
        dict(
            normalizer=norms(NFKC, PREPEND, REPLACE),
            decoder=LLAMA,
            added_tokens=[token("<think>", False, True), token("Hello", False, True)],
        ),
    ),
    ("unigram", "unigram", dict(pre_tokenizer=meta("always", True), decoder=meta("always", True))),
    (
        "unigram bytes",
        "unigram bytes",
        dict(
            normalizer=NFKC,
            pre_tokenizer=meta("first", True),
            decoder=seq("Sequence", "decoders", FALLBACK, meta("first", True)),
        ),
    ),
    ("gpt 2", "bytes", dict(pre_tokenizer=level(True))),
    ("gpt 2 with a space", "bytes", dict(pre_tokenizer=level(True, True), added_tokens=EDGES)),
    (
        "neox",
        "bytes",
        dict(
            normalizer=NFC, pre_tokenizer=level(True), added_tokens=[token(" " * n, False, True) for n in range(2, 9)]
        ),
    ),
    ("smollm", "bytes", dict(pre_tokenizer=pres(digits(True), level(True)))),
    ("digits", "bytes", dict(pre_tokenizer=pres(digits(False), level(True)))),
    (
        "falcon",
        "bytes",
        dict(
            pre_tokenizer=pres(
                {"type": "Punctuation", "behavior": "Contiguous"},
                level(True),
                digits(False),
                split("[0-9][0-9][0-9]"),
            )
        ),
    ),
    (
        "cl100k",
        "bytes",
        dict(pre_tokenizer=pres(split(CL100K, "Removed", True), level()), model=dict(ignore_merges=True)),
    ),
    ("tiktoken", "bytes", dict(pre_tokenizer=pres(split(TIKTOKEN), level()))),
    ("o200k", "bytes", dict(pre_tokenizer=pres(split(O200K), level()))),
    ("tekken", "bytes", dict(pre_tokenizer=pres(split(TEKKEN), level()))),
    ("qwen 3.5", "bytes", dict(normalizer=NFC, pre_tokenizer=pres(split(QWEN35), level()))),
    (
        "deepseek 3",
        "bytes",
        dict(pre_tokenizer=pres(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK), level())),
    ),
    (
        "deepseek coder",
        "bytes",
        dict(
            pre_tokenizer=pres(
                split("[\r\n]"),
                split(r"\s?\p{L}+"),
                split(r"\s?\p{P}+"),
                split("[一-龥ࠀ-一가-퟿]+"),
                digits(True),
                level(),
            )
        ),
    ),
    (
        "minicpm 5",
        "bytes",
        dict(pre_tokenizer=pres(split(r"\p{N}{1,3}"), split(CL100K.replace("{1,3}", "+")), level())),
    ),
    ("bloom", "bytes", dict(pre_tokenizer=pres(split(r" ?[^(\s|[.,!?…。，、।۔،])]+"), level()))),
    ("viking", "bytes", dict(pre_tokenizer=pres(split(r" ?[^(\s|[.,!?…。，、।۔،])]+"), split(r"\p{N}"), level()))),
    ("lowercase", "bytes", dict(normalizer=norms(NFD, LOWER, STRIP), pre_tokenizer=level(True), added_tokens=EDGES)),
    ("nfkd", "bytes", dict(normalizer=norms(NFKD, LOWER), pre_tokenizer=level(True))),
]

out = []
for name, model, parts in KINDS:
    file = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": LEVEL,
        "model": {**MODELS[model], **parts.pop("model", {})},
    }
    file.update(copy.deepcopy(parts))
    vocab = file["model"]["vocab"]
    names = list(vocab) if isinstance(vocab, dict) else [n for n, _ in vocab]
    have = [a["content"] for a in file["added_tokens"]]
    first = SPECIAL if model != "bytes" else ["<|endoftext|>"]
    file["added_tokens"] = [token(c) for c in first if c not in have] + file["added_tokens"]
    fresh = len(names)
    for a in file["added_tokens"]:
        if a["content"] in names:
            a["id"] = names.index(a["content"])
        else:
            a["id"], fresh = fresh, fresh + 1
    file["added_tokens"] = sorted(({"id": a.pop("id"), **a} for a in file["added_tokens"]), key=lambda a: a["id"])
    tok = Tokenizer.from_str(json.dumps(file))
    row = {"name": name, "model": model, "plain": [], "special": {}, "decoded": {}}
    row["set"] = {k: v for k, v in file["model"].items() if k not in MODELS[model] or MODELS[model][k] != v}
    row["file"] = {k: v for k, v in file.items() if k != "model"}
    for i, text in enumerate(HARD):
        tok.encode_special_tokens = True
        plain = tok.encode(text, add_special_tokens=False).ids
        if "unigram" in model and any(s in text for s in SPECIAL + ["<0x"]):
            plain = None  # the library's model makes special tokens of plain text, and bytes of their names
        tok.encode_special_tokens = False
        special = tok.encode(text, add_special_tokens=False).ids if plain is not None or "<0x" not in text else None
        row["plain"].append(plain)
        if special != plain:
            row["special"][i] = special
        if plain is not None and (text_of := tok.decode(plain, skip_special_tokens=True)) != text:
            row["decoded"][i] = text_of
    out.append(row)

lines = (
    lambda rows: "[\n  "
    + ",\n  ".join(json.dumps(r, ensure_ascii=True, separators=(",", ":")) for r in rows)
    + "\n ]"
)
print("{")
print(f' "library": "tokenizers {tokenizers.__version__}",')
print(' "models": ' + json.dumps(MODELS, separators=(",", ":")).replace('},"', '},\n  "') + ",")
print(' "texts": ' + lines(HARD) + ",")
print(' "kinds": ' + lines(out) + "\n}")
