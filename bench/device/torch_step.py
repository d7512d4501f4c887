"""Times training steps of a GPT-2 in compiled PyTorch, as `gimbal bench train --json` does: same shapes, random
tokens.

bf16 autocast, scaled_dot_product_attention, fused AdamW, gradients clipped at 1. Prints one JSON object.
"""

import argparse
import json
import math
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

# layers, width, heads, vocabulary
MODELS = {"gpt2-124m": (12, 768, 12, 50257), "gpt2-350m": (24, 1024, 16, 50257), "char-10m": (6, 384, 6, 65),
          "nano": (4, 128, 2, 4096)}


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (p.view(b, t, self.heads, c // self.heads).transpose(1, 2)
                   for p in self.qkv(self.norm1(x)).split(c, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, layers, width, heads, vocab, context):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids, labels):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x) @ self.tokens.weight.T
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", default="gpt2-124m")
    p.add_argument("--rows", type=int, default=16)
    p.add_argument("--context", type=int, default=1024)
    p.add_argument("--steps", type=int, default=20)
    a = p.parse_args()
    layers, width, heads, vocab = MODELS[a.model]
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    model = GPT2(layers, width, heads, vocab, a.context).to(device)
    params = sum(q.numel() for q in model.parameters())
    began = time.time()
    step = torch.compile(model) if cuda else model
    groups = [{"params": [q for q in model.parameters() if q.dim() == 2], "weight_decay": 0.1},
              {"params": [q for q in model.parameters() if q.dim() != 2], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.99), fused=cuda)

    def once():
        ids = torch.randint(vocab, (a.rows, a.context + 1), device=device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=cuda):
            loss = step(ids[:, :-1], ids[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        return loss.item()  # as a guard needs it, and to wait for the device

    for i in range(3):
        loss = once()
        if i == 0:
            ready = time.time() - began
    seconds = []
    for _ in range(a.steps):
        start = time.time()
        loss = once()
        seconds.append(time.time() - start)
    median, tokens = statistics.median(seconds), a.rows * a.context
    if not math.isfinite(loss):
        raise SystemExit("the loss is not finite")
    print(json.dumps({
        "torch": torch.__version__, "device": torch.cuda.get_device_name() if cuda else "cpu", "model": a.model,
        "params": params, "tokens": tokens, "context": a.context, "mode": "bf16" if cuda else "fp32",
        "seconds_per_step": median, "best_seconds_per_step": min(seconds), "tokens_per_second": tokens / median,
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if cuda else 0, "compile_seconds": ready,
        "loss_nats": loss}))


if __name__ == "__main__":
    main()
