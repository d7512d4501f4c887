"""Records what transformers computes for tiny decoders of the families that record.py does not write out.

    pip install torch transformers
    python families.py [NAME ...]

The classes of transformers themselves run in float64: float32, which they ask for in norms, softmax and RoPE, is made
to mean float64 from the construction on. One batch of four spans is recorded: config.json as transformers saves it,
loss, per-position nats, logits, gradients, and ten steps of torch.optim.AdamW on the same batch.

Weights are not stored: element i of tensor t is shift + scale * u, with u the number in [-1, 1) of which draw() tells.
q, k and v of GPT-NeoX are recorded one after the other, not head by head. Tensors are base64 of little-endian float64.
"""

import base64
import json
import math
import pathlib
import sys

import torch
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
torch.float32, torch.float, torch.Tensor.float = torch.float64, torch.float64, torch.Tensor.double

import transformers  # noqa: E402

VOCAB, WIDTH, HEADS, LAYERS = 13, 8, 2, 2
SPANS = [1, 5, 3, 8]
LR, BETAS, EPS, DECAY, CLIP, STEPS = 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0, 10

GEMMA = dict(head_dim=6, num_key_value_heads=1, sliding_window=4, query_pre_attn_scalar=5, tie_word_embeddings=True,
             rms_norm_eps=1e-6, intermediate_size=12)
FAMILIES = {
    "olmo2": ("Olmo2", dict(num_key_value_heads=1, intermediate_size=12, rms_norm_eps=1e-6, rope_parameters={
        "rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 16,
        "beta_fast": 2.0, "beta_slow": 0.5})),
    "smollm3": ("SmolLM3", dict(num_key_value_heads=1, intermediate_size=12, no_rope_layers=[0, 1], rope_parameters={
        "rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0})),
    "phi3": ("Phi3", dict(hidden_size=16, num_key_value_heads=1, intermediate_size=12, sliding_window=5,
        original_max_position_embeddings=16, rope_parameters={"rope_type": "longrope", "rope_theta": 100.0,
        "partial_rotary_factor": 0.75, "short_factor": [1.0, 1.5, 2.5], "long_factor": [1.0, 3.0, 9.0]})),
    "gpt_neox": ("GPTNeoX", dict(hidden_size=16, intermediate_size=20, rope_parameters={
        "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5})),
    "stablelm": ("StableLm", dict(hidden_size=16, num_key_value_heads=1, intermediate_size=12, use_qkv_bias=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5})),
    "granite": ("Granite", dict(num_key_value_heads=1, intermediate_size=12, embedding_multiplier=3.0,
        attention_multiplier=0.7, residual_multiplier=0.6, logits_scaling=1.5,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0})),
    "olmo": ("Olmo", dict(num_key_value_heads=1, intermediate_size=12, rope_parameters={
        "rope_type": "default", "rope_theta": 100.0})),
    "phi": ("Phi", dict(hidden_size=16, num_key_value_heads=1, intermediate_size=20, rope_parameters={
        "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5})),
    "gpt_neo": ("GPTNeo", dict(intermediate_size=20, attention_types=[[["local", "global"], 1]], window_size=4)),
    "opt": ("OPT", dict(ffn_dim=20, do_layer_norm_before=True, dropout=0.0)),
    "gemma3_text": ("Gemma3", dict(GEMMA, layer_types=["sliding_attention", "full_attention"], rope_parameters={
        "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 2.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}})),
    "gemma": ("Gemma", dict(head_dim=6, num_key_value_heads=1, tie_word_embeddings=True, rms_norm_eps=1e-6,
        intermediate_size=12, rope_parameters={"rope_type": "default", "rope_theta": 100.0})),
    "gemma2": ("Gemma2", dict(GEMMA, layer_types=["full_attention", "sliding_attention"], attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0, rope_parameters={"rope_type": "default", "rope_theta": 100.0})),
}


def draw(t, n, scale, shift):
    """u of element i is ((40503*(i+1) + 9973*t)^2 mod 2^32) / 2^31 - 1, exact in float64."""
    return torch.tensor([shift + scale * (((40503 * (i + 1) + 9973 * t) ** 2 % 2**32) / 2**31 - 1) for i in range(n)])


def pack(x):
    return base64.b64encode(x.detach().to(torch.float64).contiguous().numpy().astype("<f8").tobytes()).decode()


def turned(name, x, first=HEADS, second=3):
    """A tensor as Gimbal holds it, or with 3 and HEADS as transformers does."""
    if "query_key_value" in name:
        return x.unflatten(0, (first, second, -1)).transpose(0, 1).flatten(0, 2)
    return x


def record(name):
    prefix, changes = FAMILIES[name]
    base = dict(vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                max_position_embeddings=64, bos_token_id=0, eos_token_id=0, pad_token_id=None)
    kind = prefix + ("TextConfig" if name == "gemma3_text" else "Config")
    own = {"num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"} if name == "gpt_neo" else {}
    config = getattr(transformers, kind)(**{own.get(k, k): v for k, v in {**base, **changes}.items()})
    config._attn_implementation = "eager"
    config.architectures = [prefix + "ForCausalLM"]
    model = getattr(transformers, prefix + "ForCausalLM")(config).double().eval()
    named = {n.replace("lm_head", "embed_out") if name == "gpt_neox" else n: p for n, p in model.named_parameters()}
    drawn = []
    for t, (n, p) in enumerate(named.items()):
        scale, shift = (0.6, 0.0) if p.dim() == 2 else (0.1, 0.0) if n.endswith("bias") else (0.4, 1.0)
        if shift and name.startswith("gemma"):
            shift = 0.0
        p.data = turned(n, draw(t, p.numel(), scale, shift).view(p.shape), 3, HEADS)
        drawn.append((scale, shift))
    g = torch.Generator().manual_seed(len(name))
    count = sum(SPANS)
    tokens, labels = torch.randint(VOCAB, (2, count), generator=g)
    counts = torch.ones(count, dtype=torch.bool)
    counts[[2, 6, 9, 10, 13]] = False
    decayed = [n for n, x in named.items()
               if x.dim() == 2 and (".layers." in n or ".h." in n or n in ("lm_head.weight", "embed_out.weight"))]

    def loss_of():
        logits = torch.cat([model(s[None], use_cache=False).logits[0] for s in tokens.split(SPANS)])
        nats = F.cross_entropy(logits, labels, reduction="none")
        return logits, nats, nats[counts].sum() / counts.sum()

    logits, nats, loss = loss_of()
    assert logits.dtype == torch.float64
    loss.backward()
    out = {
        "recorded_by": f"families.py, torch {torch.__version__}, transformers {transformers.__version__}",
        "config": json.loads(config.to_json_string(use_diff=True)),
        "spans": SPANS, "tokens": tokens.tolist(), "labels": labels.tolist(), "counts": counts.tolist(),
        "loss": loss.item(), "nats": pack(nats), "logits": pack(logits),
        "adamw": {"lr": LR, "beta1": BETAS[0], "beta2": BETAS[1], "eps": EPS, "weight_decay": DECAY, "clip": CLIP},
        "steps": [],
        "tensors": [{"name": n, "shape": list(x.shape), "decay": n in decayed, "scale": s, "shift": h,
                     "grad": pack(turned(n, x.grad))} for (n, x), (s, h) in zip(named.items(), drawn)],
    }
    opt = torch.optim.AdamW(
        [{"params": [named[n] for n in decayed], "weight_decay": DECAY},
         {"params": [x for n, x in named.items() if n not in decayed], "weight_decay": 0.0}],
        lr=LR, betas=BETAS, eps=EPS)
    for _ in range(STEPS):
        opt.zero_grad()
        loss = loss_of()[2]
        loss.backward()
        norm = math.sqrt(sum((x.grad**2).sum().item() for x in named.values()))
        for x in named.values():
            x.grad.mul_(min(1.0, CLIP / norm))
        opt.step()
        out["steps"].append({"loss": loss.item(), "grad_norm": norm})
    for t in out["tensors"]:
        t["after"] = pack(turned(t["name"], named[t["name"]]))
    out["loss_after"] = loss_of()[2].item()
    path = pathlib.Path(__file__).parent / f"{name}.json"
    path.write_text(json.dumps(out, indent=1) + "\n")
    print(f"{path.name}: {sum(x.numel() for x in named.values())} parameters, {path.stat().st_size} bytes, "
          f"loss {out['loss']:.6f} -> {out['loss_after']:.6f}, norm {out['steps'][0]['grad_norm']:.3f}")


for name in sys.argv[1:] or FAMILIES:
    record(name)
