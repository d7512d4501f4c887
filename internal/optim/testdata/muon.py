"""Records the values of TestMuonAgainstPyTorch: python3 testdata/muon.py

Three steps of torch.optim.Muon on a wide, a tall and a square matrix, in float64, with another rate and another factor
on the gradient at each step. PyTorch orthogonalizes in bfloat16; here its own formula runs in float64, in place of that
one function. The last lines say how far the two are apart.
"""
import math

import torch
from torch.optim import _muon

pytorch = _muon._zeropower_via_newtonschulz


def float64(grad, ns_coefficients, ns_steps, eps):
    a, b, c = ns_coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(ns_steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    apart.append(((x.T if grad.size(0) > grad.size(1) else x) - pytorch(grad, ns_coefficients, ns_steps, eps).double())
                 .abs().max().item())
    return x.T if grad.size(0) > grad.size(1) else x


apart = []
_muon._zeropower_via_newtonschulz = float64
shapes = [(3, 5), (6, 2), (4, 4)]
params, at = [], 0
for rows, cols in shapes:
    i = torch.arange(at, at + rows * cols, dtype=torch.float64)
    params.append(torch.nn.Parameter(torch.cos(1.3 * i).reshape(rows, cols)))
    at += rows * cols
opt = torch.optim.Muon(params, momentum=0.95, nesterov=True, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
for step in range(1, 4):
    at = 0
    for p, (rows, cols) in zip(params, shapes):
        i = torch.arange(at, at + rows * cols, dtype=torch.float64)
        p.grad = (torch.sin(1.7 * i + 0.9 * step) * 2.0 ** (i % 4 - 2)).reshape(rows, cols) / step
        at += rows * cols
    for group in opt.param_groups:
        group["lr"] = 0.01 * step
    opt.step()
    if step in (1, 3):
        print(f"step {step}")
        print("p", ", ".join(repr(x) for p in params for x in p.flatten().tolist()))
        print("m", ", ".join(repr(x) for p in params for x in opt.state[p]["momentum_buffer"].flatten().tolist()))
print("PyTorch", torch.__version__, "apart from bfloat16 by", max(apart))
