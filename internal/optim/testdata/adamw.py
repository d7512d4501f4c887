"""Records the values of TestAdamWAgainstPyTorch: python3 testdata/adamw.py

Ten steps of torch.optim.AdamW in float64 on nine numbers, the first six of them with weight decay, with the
gradient clipped to norm 1 and another learning rate at each step. Recorded with PyTorch 2.15.0 on a CPU.
"""
import math

import torch

start = [0.5, -1.25, 2.0, -0.75, 0.1, 3.0, 1.0, -1.0, 0.25]
a = torch.nn.Parameter(torch.tensor(start[:6], dtype=torch.float64))
b = torch.nn.Parameter(torch.tensor(start[6:], dtype=torch.float64))
opt = torch.optim.AdamW(
    [{"params": [a], "weight_decay": 0.1}, {"params": [b], "weight_decay": 0.0}],
    betas=(0.9, 0.99), eps=1e-8, foreach=False,
)
for step in range(1, 11):
    g = [math.sin(1.7 * i + 0.9 * step) * 2.0 ** (i % 4 - 2) for i in range(9)]
    g[4] = 0.0  # an element that only decays
    a.grad = torch.tensor(g[:6], dtype=torch.float64)
    b.grad = torch.tensor(g[6:], dtype=torch.float64)
    # clip_grad_norm_ divides by norm + 1e-6; clipping here is exact.
    norm = torch.cat([a.grad, b.grad]).norm()
    for p in (a, b):
        p.grad *= min(1.0, 1.0 / norm.item())
    for group in opt.param_groups:
        group["lr"] = 0.01 * step
    opt.step()
    if step in (1, 10):
        print(f"step {step} norm {norm.item()!r}")
        print("p", ", ".join(repr(x) for x in torch.cat([a, b]).tolist()))
        print("m", ", ".join(repr(x) for x in torch.cat([opt.state[p]["exp_avg"] for p in (a, b)]).tolist()))
        print("v", ", ".join(repr(x) for x in torch.cat([opt.state[p]["exp_avg_sq"] for p in (a, b)]).tolist()))
