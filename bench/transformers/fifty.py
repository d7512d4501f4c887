"""Models of others, up to about two billion weights: which of them import, train a step, export, and write the same
greedy text in transformers and here?

    pip install torch transformers
    python bench/transformers/fifty.py --gimbal BINARY [--only NAME] WORK

A model has the settings of its config.json (family, heads to key heads, head size, bases and scalings, biases, ties,
norms, caps, windows), and random weights; width, layers and vocabulary are cut, so that fifty of them take minutes.
The tokenizer has the pipeline of the model around a vocabulary of our own (internal/tokenizer/testdata/kinds.json).
Run it from the root of the repository. A line for each model; exit status 1 if one fails.
"""

import argparse
import codecs
import json
import pathlib
import re
import subprocess

import torch
import transformers

KINDS = json.loads(pathlib.Path("internal/tokenizer/testdata/kinds.json").read_text())
TEXTS = [
    f"The {a} {b} went to the {c}, and said: {n} + {n} = {2 * n}.\n"
    for n, (a, b, c) in enumerate(
        (a, b, c)
        for a in ("red", "old", "small")
        for b in ("fox", "engine", "teacher", "cat")
        for c in ("sea", "house", "moon")
    )
]


def rope(theta=10000.0, **more):
    return {"rope_type": "default", "rope_theta": theta, **more}


LLAMA3 = rope(
    500000.0,
    rope_type="llama3",
    factor=32.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=8192,
)
# name: (family, heads, key heads, head size, positions, kind of tokenizer, what else config.json says)
LL = dict(rms_norm_eps=1e-5)
Q25 = dict(rms_norm_eps=1e-6, tie_word_embeddings=True, rope_parameters=rope(1e6))
NEOX = dict(
    rotary_pct=0.25, use_parallel_residual=True, hidden_act="gelu", layer_norm_eps=1e-5, tie_word_embeddings=False
)
GEMMA = dict(tie_word_embeddings=True, rms_norm_eps=1e-6, hidden_activation="gelu_pytorch_tanh")
ROWS = {
    "gpt2": ("gpt2", 12, 12, 64, 1024, "gpt 2", {}),
    "distilgpt2": ("gpt2", 12, 12, 64, 1024, "gpt 2", {}),
    "gpt2-xl": ("gpt2", 25, 25, 64, 1024, "gpt 2", {}),
    "DialoGPT-medium": ("gpt2", 16, 16, 64, 1024, "gpt 2", {}),
    "Cerebras-GPT-111M": (
        "gpt2",
        12,
        12,
        64,
        2048,
        "gpt 2",
        dict(activation_function="gelu", scale_attn_weights=True),
    ),
    "pythia-70m": ("gpt_neox", 8, 8, 64, 2048, "neox", NEOX),
    "pythia-160m": ("gpt_neox", 12, 12, 64, 2048, "neox", NEOX),
    "pythia-410m": ("gpt_neox", 16, 16, 64, 2048, "neox", NEOX),
    "pythia-1b": ("gpt_neox", 8, 8, 256, 2048, "neox", NEOX),
    "pythia-1.4b": ("gpt_neox", 16, 16, 128, 2048, "neox", NEOX),
    "TinyLlama-1.1B-Chat": ("llama", 32, 4, 64, 2048, "llama 2", LL),
    "llama-160m": ("llama", 12, 12, 64, 2048, "llama 2", dict(rms_norm_eps=1e-6)),
    "AMD-Llama-135m": ("llama", 12, 12, 64, 2048, "llama 2", LL),
    "SmolLM-135M": ("llama", 9, 3, 64, 2048, "smollm", dict(LL, tie_word_embeddings=True)),
    "SmolLM-360M": ("llama", 15, 5, 64, 2048, "smollm", dict(LL, tie_word_embeddings=True)),
    "SmolLM-1.7B": ("llama", 32, 32, 64, 2048, "smollm", dict(LL, tie_word_embeddings=True)),
    "SmolLM2-135M": (
        "llama",
        9,
        3,
        64,
        8192,
        "smollm",
        dict(LL, tie_word_embeddings=True, rope_parameters=rope(1e5)),
    ),
    "SmolLM2-360M": (
        "llama",
        15,
        5,
        64,
        8192,
        "smollm",
        dict(LL, tie_word_embeddings=True, rope_parameters=rope(1e5)),
    ),
    "SmolLM2-1.7B": (
        "llama",
        32,
        32,
        64,
        8192,
        "smollm",
        dict(LL, tie_word_embeddings=True, rope_parameters=rope(130000.0)),
    ),
    "SmolLM3-3B": (
        "smollm3",
        16,
        4,
        128,
        65536,
        "tiktoken",
        dict(rms_norm_eps=1e-6, tie_word_embeddings=True, rope_parameters=rope(5e6)),
    ),
    "Llama-3.2-1B": (
        "llama",
        32,
        8,
        64,
        131072,
        "tiktoken",
        dict(LL, tie_word_embeddings=True, rope_parameters=LLAMA3),
    ),
    "Falcon3-1B": ("llama", 8, 4, 256, 8192, "digits", dict(rms_norm_eps=1e-6, rope_parameters=rope(1000042.0))),
    "EuroLLM-1.7B": ("llama", 16, 8, 128, 4096, "metaspace digits", LL),
    "salamandra-2b": ("llama", 16, 16, 128, 8192, "llama 2", LL),
    "h2o-danube3-500m": ("llama", 16, 8, 96, 8192, "llama 2", dict(LL, rope_parameters=rope(1e5))),
    "h2o-danube2-1.8b": ("mistral", 32, 8, 80, 8192, "llama 2", dict(LL, sliding_window=None)),
    "h2o-danube-1.8b": ("mistral", 32, 8, 80, 16384, "llama 2", dict(LL, sliding_window=4096)),
    "Yi-Coder-1.5B": ("llama", 16, 16, 128, 131072, "llama 2", dict(LL, rope_parameters=rope(1e7))),
    "deepseek-coder-1.3b": (
        "llama",
        16,
        16,
        128,
        16384,
        "deepseek coder",
        dict(rms_norm_eps=1e-6, rope_parameters=rope(1e5, rope_type="linear", factor=4.0)),
    ),
    "Qwen1.5-0.5B": ("qwen2", 16, 16, 64, 32768, "tiktoken", dict(Q25)),
    "Qwen1.5-1.8B": ("qwen2", 16, 16, 128, 32768, "tiktoken", dict(Q25, tie_word_embeddings=False)),
    "Qwen2-0.5B": ("qwen2", 14, 2, 64, 131072, "tiktoken", Q25),
    "Qwen2-1.5B": ("qwen2", 12, 2, 128, 131072, "tiktoken", Q25),
    "Qwen2.5-0.5B": ("qwen2", 14, 2, 64, 32768, "tiktoken", Q25),
    "Qwen2.5-Coder-1.5B": ("qwen2", 12, 2, 128, 32768, "tiktoken", Q25),
    "DeepSeek-R1-Distill-Qwen-1.5B": (
        "qwen2",
        12,
        2,
        128,
        131072,
        "tiktoken",
        dict(Q25, tie_word_embeddings=False, rope_parameters=rope(10000.0)),
    ),
    "Qwen3-0.6B": ("qwen3", 16, 8, 128, 40960, "tiktoken", Q25),
    "Qwen3-1.7B": ("qwen3", 16, 8, 128, 40960, "tiktoken", Q25),
    "OLMo-2-1B": ("olmo2", 16, 16, 128, 4096, "cl100k", dict(rms_norm_eps=1e-6, rope_parameters=rope(5e5))),
    "OLMo-1B": ("olmo", 16, 16, 128, 2048, "neox", dict(tie_word_embeddings=True)),
    "gemma-2b": ("gemma", 8, 1, 256, 8192, "gemma", dict(tie_word_embeddings=True, rms_norm_eps=1e-6)),
    "gemma-2-2b": ("gemma2", 8, 4, 256, 8192, "gemma", dict(GEMMA, query_pre_attn_scalar=256, sliding_window=16)),
    "gemma-3-270m": (
        "gemma3_text",
        4,
        1,
        256,
        32768,
        "gemma",
        dict(GEMMA, query_pre_attn_scalar=256, sliding_window=16),
    ),
    "gemma-3-1b": (
        "gemma3_text",
        4,
        1,
        256,
        32768,
        "gemma",
        dict(GEMMA, query_pre_attn_scalar=256, sliding_window=16),
    ),
    "phi-1_5": ("phi", 32, 32, 64, 2048, "gpt 2", dict(partial_rotary_factor=0.5)),
    "Phi-3-mini": ("phi3", 32, 32, 96, 4096, "phi 3", dict(LL, sliding_window=2047)),
    "stablelm-2-1_6b": (
        "stablelm",
        32,
        32,
        64,
        4096,
        "tiktoken",
        dict(partial_rotary_factor=0.25, use_qkv_bias=True),
    ),
    "granite-3.0-2b": (
        "granite",
        32,
        8,
        64,
        4096,
        "gpt 2",
        dict(embedding_multiplier=12.0, attention_multiplier=0.015625, residual_multiplier=0.22, logits_scaling=8.0),
    ),
    "opt-125m": ("opt", 12, 12, 64, 2048, "gpt 2", {}),
    "gpt-neo-125m": ("gpt_neo", 12, 12, 64, 2048, "gpt 2", {}),
}
VISIBLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
HIDDEN = [b for b in range(256) if b not in VISIBLE]
BYTES = {
    **{b: chr(b) for b in VISIBLE},
    **{b: chr(256 + i) for i, b in enumerate(HIDDEN)},
}  # of byte-level vocabularies
RENAMED = {
    "gpt2": dict(
        hidden_size="n_embd",
        num_hidden_layers="n_layer",
        num_attention_heads="n_head",
        max_position_embeddings="n_positions",
        intermediate_size="n_inner",
    ),
    "gpt_neo": dict(num_hidden_layers="num_layers", num_attention_heads="num_heads"),
    "opt": dict(intermediate_size="ffn_dim"),
}


def tokenizer_of(name, work):
    kind = next(k for k in KINDS["kinds"] if k["name"] == name)
    file = {**kind["file"], "model": {**KINDS["models"][kind["model"]], **kind["set"]}}
    names = [t["content"] for t in file["added_tokens"]]
    if names[0] == "<unk>":  # models with a start token have the tokenizer write it
        start = {"SpecialToken": {"id": "<s>", "type_id": 0}}
        file["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [start, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [start, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        }
    (work / "tokenizer.json").write_text(json.dumps(file))
    end = "</s>" if names[0] == "<unk>" else names[0]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(work / "tokenizer.json"), eos_token=end, bos_token="<s>" if names[0] == "<unk>" else end
    )


def model_of(row, tok):
    family, heads, keys, size, positions, _, more = row
    heads, keys = heads // keys * min(keys, 2), min(keys, 2)  # the ratio stays
    while heads > 16 and keys == 1 or heads * size > 1024 and heads > keys and heads % 2 == 0:
        heads //= 2
    width = heads * size
    if family.startswith("gemma"):
        width = 128
    conf = dict(
        vocab_size=(len(tok) + 63) // 64 * 64,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=4,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        head_dim=size,
        max_position_embeddings=positions,
        bos_token_id=tok.bos_token_id,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.eos_token_id,
        **more,
    )
    if family in (
        "gpt2",
        "gpt_neox",
        "gpt_neo",
        "opt",
        "phi",
        "phi3",
        "qwen2",
        "stablelm",
        "olmo",
        "olmo2",
        "granite",
        "smollm3",
    ):
        conf.pop("head_dim")
    if family in ("gpt2", "gpt_neox", "gpt_neo", "opt"):
        conf.pop("num_key_value_heads")
    if family == "gpt_neo":
        conf["attention_types"] = [[["global", "local"], 2]]
    conf = {RENAMED.get(family, {}).get(k, k): v for k, v in conf.items()}
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **conf)
    config.initializer_range = 0.05
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


codecs.register_error("each", lambda e: ("\ufffd" * (e.end - e.start), e.end))


def text_of(tok, ids):
    """The text of ids, with a mark for each byte that is no UTF-8: decoders differ in how many they write."""
    level = {c: b for b, c in BYTES.items()}
    special = {i for i, t in tok.added_tokens_decoder.items() if t.special} | set(tok.all_special_ids)
    out = b""
    for i in ids:
        name = tok.convert_ids_to_tokens(int(i))
        if name is None or int(i) in special:
            continue
        if re.fullmatch("<0x[0-9A-F]{2}>", name):
            out += bytes([int(name[3:5], 16)])
        elif "<0x0A>" in tok.get_vocab():
            out += name.replace("\u2581", " ").encode()
        else:
            out += bytes(level[c] for c in name) if all(c in level for c in name) else name.encode()
    return out.decode("utf-8", "each")


def run(args, *command):
    done = subprocess.run([args.gimbal, *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        said = re.sub(r"\s+", " ", done.stderr.strip().split("gimbal: error: ")[-1])
        raise RuntimeError(f"{command[0]}: {said[:300]}")
    return done.stdout


def try_one(args, name, row):
    work = args.work / name
    subprocess.run(["rm", "-rf", work])
    work.mkdir(parents=True)
    tok = tokenizer_of(row[5], work)
    model = model_of(row, tok)
    model.save_pretrained(work / "model")
    tok.save_pretrained(work / "model")
    run(
        args,
        "train",
        "--from",
        work / "model",
        "--data",
        args.work / "text.jsonl",
        "--steps",
        1,
        "--out",
        work / "run",
        "--set",
        "eval.samples=1",
        "--set",
        "eval.prompts=1",
        "--set",
        "eval.max_tokens=4",
        "--set",
        "train.context=64",
        "--set",
        "optim.lr=1e-4",
        "--quiet",
    )
    run(args, "export", work / "run", work / "export", "--checkpoint", "step-1")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        work / "export", dtype=torch.float32, attn_implementation="eager"
    )
    tok = transformers.AutoTokenizer.from_pretrained(work / "export")
    moved = max((a - b).abs().max().item() for a, b in zip(model.parameters(), theirs.parameters()))
    prompt = "The red fox"
    ids = tok(prompt, return_tensors="pt", add_special_tokens=True).input_ids
    if ids[0, 0] != theirs.config.bos_token_id:  # a document begins with the token that ends one
        ids = torch.cat([torch.tensor([[theirs.config.bos_token_id]]), ids], 1)
    with torch.no_grad():
        out = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=32, do_sample=False)[
            0, ids.shape[1] :
        ]
    want = text_of(tok, out)
    got = json.loads(
        run(
            args,
            "sample",
            work / "run",
            prompt,
            "--checkpoint",
            "step-1",
            "--temperature",
            0,
            "-n",
            1,
            "--max-tokens",
            32,
            "--weights",
            "fp32",
            "--json",
        )
    )[0]["text"]
    if moved == 0:
        raise RuntimeError("the step changed nothing")
    return got, want


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--gimbal", required=True)
parser.add_argument("--only", default="")
parser.add_argument("work", type=pathlib.Path)
args = parser.parse_args()
args.work.mkdir(parents=True, exist_ok=True)
(args.work / "text.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
good = 0
chosen = {n: r for n, r in ROWS.items() if args.only in n}
for name, row in chosen.items():
    try:
        got, want = try_one(args, name, row)
        said = "the same text" if got == want else f"DIFFERS: {got!r} here, {want!r} there"
        good += got == want
    except Exception as err:
        said = f"{type(err).__name__}: {err}"
    subprocess.run(["rm", "-rf", args.work / name])
    print(f"{name:30} {row[0]:12} {row[5]:18} {said}", flush=True)
print(f"{good} of {len(chosen)}")
raise SystemExit(good < len(chosen))
