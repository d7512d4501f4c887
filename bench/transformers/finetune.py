"""Fine-tuning end to end, for each family: a small random model made with transformers is imported, continued on conversations,
sampled, exported, and loaded again by transformers, which must compute the same logits.

    pip install torch transformers
    go build -o /tmp/gimbal ./cmd/gimbal
    python bench/transformers/finetune.py --gimbal /tmp/gimbal --data CHAT.jsonl [--steps N] WORK

Run it from the root of the repository: the logits of a checkpoint are computed by `go test ./internal/model`. WORK is made. Exit status 1 if
a weight of the imported model differs from the original by one bit, a logit by more than 1e-4, a greedy text in one character, or
the loss did not fall.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import safetensors.torch
import tokenizers
import torch
import transformers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

LIMIT = 1e-4
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN2.replace(r"\p{N}| ?", r"\p{N}{1,3}| ?")


def tokenizer_of(family, texts):
    tok = tokenizers.Tokenizer(models.BPE())
    if family == "gpt2":
        tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tok.normalizer = None if family == "llama" else normalizers.NFC()
        tok.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(LLAMA3 if family == "llama" else QWEN2), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=2000, special_tokens=SPECIAL, show_progress=False,
                                                       initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tok, eos_token=SPECIAL[0], bos_token=SPECIAL[0])


def model_of(family, tok):
    ends = dict(eos_token_id=tok.eos_token_id, bos_token_id=tok.bos_token_id)
    vocab = (len(tok) + 127) // 128 * 128  # rounded up, as those of others are
    rope = dict(vocab_size=vocab, hidden_size=128, intermediate_size=320, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                max_position_embeddings=512, **ends)
    plain = {"rope_type": "default", "rope_theta": 1e6}
    llama3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 128}
    config = {
        "qwen3": lambda: transformers.Qwen3Config(head_dim=64, tie_word_embeddings=True, rope_parameters=plain, **rope),
        "qwen2": lambda: transformers.Qwen2Config(tie_word_embeddings=True, rope_parameters=plain, **rope),
        "llama": lambda: transformers.LlamaConfig(rms_norm_eps=1e-5, tie_word_embeddings=False, rope_parameters=llama3, **rope),
        "gpt2": lambda: transformers.GPT2Config(vocab_size=vocab, n_embd=128, n_layer=3, n_head=4, n_positions=512, **ends),
    }[family]()
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():  # nowhere at an initial value
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
    return model.eval()


def logits_of(model, sequences):
    with torch.no_grad():
        return [model(torch.tensor([s])).logits[0] for s in sequences]


def largest_difference(a, b):
    return max((x - y).abs().max().item() for x, y in zip(a, b, strict=True))


def same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k].float(), b[k].float()) for k in a)


def load(path):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not info[key], (path, key, info[key])
    return model.eval()


def run(family, args, conversations):
    work = args.work / family
    work.mkdir(parents=True)
    texts = [m["content"] for c in conversations for m in c]

    def gimbal(*words):
        r = subprocess.run([args.gimbal, *map(str, words)], capture_output=True, text=True)
        assert r.returncode == 0, (words, r.stderr[-2000:])
        return r.stdout

    torch.manual_seed(1)
    tok = tokenizer_of(family, texts)
    model = model_of(family, tok)
    dtype = {"llama": torch.bfloat16, "qwen2": torch.float16}.get(family, torch.float32)
    stored = model.to(dtype)
    stored.save_pretrained(work / "made", max_shard_size="300KB" if family in ("llama", "qwen3") else "1GB")
    tok.save_pretrained(work / "made")
    shards = len(list((work / "made").glob("*.safetensors")))
    model = load(work / "made")  # in float32, what was stored

    # In, and out again as it is.
    gimbal("import", work / "made", "--out", work / "imported")
    gimbal("export", work / "imported", work / "back")
    again = load(work / "back")
    bits = same_weights(model, again)
    sequences = [tok(t)["input_ids"][:200] for t in texts[:6]]
    unchanged = largest_difference(logits_of(model, sequences), logits_of(again, sequences))

    # On with conversations.
    out = json.loads(gimbal("train", "--from", work / "imported", "--data", args.data, "--out", work / "run", "--steps", args.steps, "--json",
                            "--set", "train.context=256", "--set", "train.batch_tokens=2048", "--set", "optim.lr=1e-3", "--set", "numeric.mode=fp32",
                            "--set", "eval.max_tokens=32", "--set", "eval.prompts=4", "--set", "eval.samples=1"))
    steps = [json.loads(line) for line in open(work / "run" / "log.jsonl")]
    losses = [s["loss"] for s in steps if s["kind"] == "step"]
    prompt = "<|im_start|>user\nHow do I read a file?<|im_end|>\n<|im_start|>assistant\n"
    ours = json.loads(gimbal("sample", work / "run", prompt, "--special", "-n", 1, "--temperature", 0, "--max-tokens", 24, "--checkpoint", "last", "--json"))[0]

    # And out for others.
    gimbal("export", work / "run", work / "tuned", "--checkpoint", "last")
    tuned = load(work / "tuned")
    theirs = transformers.AutoTokenizer.from_pretrained(work / "tuned")
    rendered = theirs.apply_chat_template(
        [{"role": "user", "content": "How do I read a file?"}], tokenize=False, add_generation_prompt=True)
    ids = [theirs.bos_token_id] + theirs(prompt, add_special_tokens=False)["input_ids"]
    generated = tuned.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=24, top_k=None, temperature=None)[0, len(ids):]
    text = theirs.decode(generated, skip_special_tokens=True)
    checkpoint = sorted((work / "run" / "checkpoints").glob("step-*"), key=lambda p: int(p.name[5:]))[-1]
    stored = safetensors.torch.load_file(checkpoint / "model.safetensors")
    exported = safetensors.torch.load_file(work / "tuned" / "model.safetensors")
    kept = stored.keys() == exported.keys() and all(torch.equal(stored[k], exported[k]) for k in stored)
    r = subprocess.run(["go", "test", "./internal/model", "-count=1", "-run", "TestWriteCheckpointLogits", "-checkpoint", checkpoint.resolve(),
                        "-logits", (work / "logits.json").resolve()], capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr
    ours_logits = json.loads((work / "logits.json").read_text())
    computed = largest_difference([torch.tensor(x) for x in ours_logits["logits"]], logits_of(tuned, ours_logits["tokens"]))

    print(f"| {family} | {sum(p.numel() for p in model.parameters()):,} | {str(dtype)[6:]} in {shards} | {'none' if bits else 'SOME'}, {unchanged:.1e} "
          f"| {losses[0]:.3f} -> {losses[-1]:.3f} | {'none' if kept else 'SOME'}, {computed:.1e} | {'same' if text == ours['text'] else 'OTHER'} |", flush=True)
    faults = []
    if not bits or unchanged > 0:
        faults.append("the model changed on its way in and out")
    if not kept or computed > LIMIT:
        faults.append("the tuned model differs")
    if text != ours["text"]:
        faults.append(f"greedy texts differ: {ours['text']!r}, transformers {text!r}")
    if not losses[-1] < losses[0]:
        faults.append("the loss did not fall")
    if rendered != theirs.bos_token + prompt:
        faults.append(f"the chat template renders {rendered!r}")
    return [f"{family}: {f}" for f in faults]


args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
args.add_argument("work", metavar="WORK", type=pathlib.Path)
args.add_argument("--gimbal", required=True)
args.add_argument("--data", required=True, help="JSONL with messages")
args.add_argument("--steps", type=int, default=60)
args = args.parse_args()
conversations = [json.loads(line)["messages"] for line in open(args.data)]
print(f"python {sys.version.split()[0]}, torch {torch.__version__}, transformers {transformers.__version__}, tokenizers {tokenizers.__version__}\n")
print("| family | parameters | stored as | weights that changed in and out, largest logit difference | loss | tuned: weights that differ, largest logit difference | greedy text |")
print("|---|---|---|---|---|---|---|")
faults = [f for family in ("qwen3", "qwen2", "llama", "gpt2") for f in run(family, args, conversations)]
print("\n" + ("\n".join(faults) or "all the same"))
sys.exit(bool(faults))
