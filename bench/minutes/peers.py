#!/usr/bin/env python3
"""Trains small models with PyTorch as other programs do, for some steps, and measures them on all held-out text.

nanogpt       the recipe that nanoGPT publishes for Shakespeare on a CPU (README and config/train_shakespeare_char.py):
              4 x 128, 4 heads, no biases, no dropout, 12 sequences of 64, AdamW (0.9, 0.99) at 1e-3, 100 steps of
              warmup, cosine to 1e-4 at the last step, decay 0.1 on matrices, gradients clipped at 1, fp32
nanogpt-256   the same with 8 sequences of 256
trainer       Trainer of transformers with its defaults (AdamW at 5e-5, linear to zero, no warmup, no decay, batches of
              8, clipped at 1) on a GPT-2 of 4 x 128, 4 heads, sequences of 256; it saves nothing on the way

Documents are joined with an end token. Every held-out label counts once, in windows that do not overlap. Usually
called by the command minutes, which see. Prints the result as JSON.
"""

import argparse
import contextlib
import json
import math
import pathlib
import sys
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F
from tokenizers import Tokenizer

LAYERS, HEADS, WIDTH, END = 4, 4, 128, "<|endoftext|>"


class Log:
    """Says of each step that it is done, as Gimbal's log does."""

    def __init__(self, path):
        self.steps, self.file = 0, open(path, "a", buffering=1) if path else None

    def step(self):
        self.steps += 1
        if self.file:
            self.file.write('{"kind":"step"}\n')


def documents(folder, side):
    for path in sorted(pathlib.Path(folder).glob(side + ".*")):
        if path.suffix == ".jsonl":
            return [json.loads(line)["text"] for line in path.open(encoding="utf-8")]
        return [path.read_bytes().decode()]
    raise FileNotFoundError(f"{folder} has no {side}")


def tokens(tokenizer, texts):
    """The documents in a row, each followed by the end token, and one before the first."""
    end = tokenizer.token_to_id(END)
    row = [end]
    for encoded in tokenizer.encode_batch(texts, add_special_tokens=False):
        row += encoded.ids + [end]
    return torch.tensor(row)


def measure(logits, row, context):
    """Nats over all labels of a row of tokens, in windows of the context."""
    nats = 0.0
    with torch.no_grad():
        for at in range(0, len(row) - 1, 16 * context):
            piece = row[at:at + 16 * context + 1]
            whole = (len(piece) - 1) // context * context
            for n, width in ((whole, context), (len(piece) - 1 - whole, len(piece) - 1 - whole)):
                if n:
                    x, y = piece[:n].view(-1, width), piece[1:n + 1]
                    nats += F.cross_entropy(logits(x).flatten(0, 1), y, reduction="sum").item()
                piece = piece[whole:]
    return nats


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = (z.view(b, t, HEADS, -1).transpose(1, 2) for z in self.qkv(self.before(x)).chunk(3, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.between(x))))


class GPT(nn.Module):
    def __init__(self, vocab, context):
        super().__init__()
        self.embed, self.place = nn.Embedding(vocab, WIDTH), nn.Embedding(context, WIDTH)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH, bias=False)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * LAYERS) if residual else 0.02)

    def forward(self, x):
        h = self.embed(x) + self.place(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        return F.linear(self.norm(h), self.embed.weight)


def nanogpt(row, vocab, batch, context, steps, log):
    """Returns the model, and its logits as a function of tokens."""
    peak, least, warmup = 1e-3, 1e-4, 100
    model = GPT(vocab, context)
    groups = [{"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
              {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.99))
    for step in range(steps):
        if step < warmup:
            lr = peak * (step + 1) / (warmup + 1)
        else:
            lr = least + (peak - least) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
        for group in groups:
            group["lr"] = lr
        at = torch.randint(len(row) - context, (batch,))
        x = torch.stack([row[i:i + context] for i in at])
        y = torch.stack([row[i + 1:i + 1 + context] for i in at])
        F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        log.step()
    return model, model.eval()


def trainer(row, vocab, context, steps, log, seed):
    import transformers

    class Watch(transformers.TrainerCallback):
        def on_step_end(self, *_, **__):
            log.step()

    config = transformers.GPT2Config(vocab_size=vocab, n_positions=context, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
                                     bos_token_id=None, eos_token_id=None)
    model = transformers.GPT2LMHeadModel(config)
    pieces = row[:(len(row) // context) * context].view(-1, context)  # what is left over goes, as in run_clm.py
    out = tempfile.TemporaryDirectory()
    args = transformers.TrainingArguments(output_dir=out.name, max_steps=steps, seed=seed, save_strategy="no",
                                          report_to="none", use_cpu=True, disable_tqdm=True, logging_strategy="no")
    data = [{"input_ids": p, "labels": p} for p in pieces]
    with contextlib.redirect_stdout(sys.stderr):  # it says how it went
        transformers.Trainer(model=model, args=args, train_dataset=data, callbacks=[Watch()]).train()
    model.eval()
    return model, lambda x: model(x).logits


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("recipe", choices=["nanogpt", "nanogpt-256", "trainer"])
    ap.add_argument("--corpus", required=True, help="folder with train and valid, as .txt or .jsonl")
    ap.add_argument("--tokenizer", required=True, help="tokenizer.json")
    ap.add_argument("--steps", type=int, default=1000)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--log", help="file to which each step adds a line")
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = Tokenizer.from_file(args.tokenizer)
    vocab = tokenizer.get_vocab_size()
    row, log = tokens(tokenizer, documents(args.corpus, "train")), Log(args.log)
    batch, context = (12, 64) if args.recipe == "nanogpt" else (8, 256)
    if args.recipe == "trainer":
        model, logits = trainer(row, vocab, context, args.steps, log, args.seed)
    else:
        model, logits = nanogpt(row, vocab, batch, context, args.steps, log)
    texts = documents(args.corpus, "valid")
    held = tokens(tokenizer, texts)
    nats, labels = measure(logits, held, context), len(held) - 1
    size = sum(len(t.encode()) for t in texts)
    versions = f"torch {torch.__version__}"
    if args.recipe == "trainer":
        import transformers
        versions += f", transformers {transformers.__version__}"
    print(json.dumps({"step": log.steps, "tokens": log.steps * batch * context, "val_loss": nats / labels,
                      "bits_per_byte": nats / math.log(2) / size, "val_tokens": labels, "with": versions,
                      "parameters": sum(p.numel() for p in model.parameters())}))


main()
