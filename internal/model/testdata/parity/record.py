"""Records what PyTorch computes for tiny decoders of four families: qwen3.json, qwen2.json, llama.json, gpt2.json.

    pip install torch transformers
    python record.py

The decoders are written out below in float64, in the plainest form (a full
attention matrix with a mask), and are first held against transformers' own
classes on each span alone. Then one batch of
four spans is recorded: loss, per-position nats, logits, gradients, and ten
steps of torch.optim.AdamW on the same batch.

Matrices are (Out, In), also those that GPT-2 stores the other way round.
Tensors are base64 of little-endian float64.
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

VOCAB, WIDTH, HEADS, HEAD, LAYERS, CONTEXT = 29, 16, 2, 8, 2, 12
SPANS = [1, 5, 3, 8]
LR, BETAS, EPS, DECAY, CLIP, STEPS = 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0, 10


# Llama 3's scaling of RoPE: with this context first trained on, of the four frequencies one is left as it is, one is
# between and two are divided.
SCALING = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 0.25, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}


def shapes_llama(shape, kv_heads=1, mlp=24):
    yield "model.embed_tokens.weight", (VOCAB, WIDTH)
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", (WIDTH,)
        yield p + "self_attn.q_proj.weight", (HEADS * HEAD, WIDTH)
        yield p + "self_attn.k_proj.weight", (kv_heads * HEAD, WIDTH)
        yield p + "self_attn.v_proj.weight", (kv_heads * HEAD, WIDTH)
        if shape == "qwen2":
            yield p + "self_attn.q_proj.bias", (HEADS * HEAD,)
            yield p + "self_attn.k_proj.bias", (kv_heads * HEAD,)
            yield p + "self_attn.v_proj.bias", (kv_heads * HEAD,)
        if shape == "qwen3":
            yield p + "self_attn.q_norm.weight", (HEAD,)
            yield p + "self_attn.k_norm.weight", (HEAD,)
        yield p + "self_attn.o_proj.weight", (WIDTH, HEADS * HEAD)
        yield p + "post_attention_layernorm.weight", (WIDTH,)
        yield p + "mlp.gate_proj.weight", (mlp, WIDTH)
        yield p + "mlp.up_proj.weight", (mlp, WIDTH)
        yield p + "mlp.down_proj.weight", (WIDTH, mlp)
    yield "model.norm.weight", (WIDTH,)
    if shape == "llama":
        yield "lm_head.weight", (VOCAB, WIDTH)


def shapes_gpt2(mlp=64):
    yield "transformer.wte.weight", (VOCAB, WIDTH)
    yield "transformer.wpe.weight", (CONTEXT, WIDTH)
    for i in range(LAYERS):
        p = f"transformer.h.{i}."
        for name, shape in (
            ("ln_1", (WIDTH,)),
            ("attn.c_attn", (3 * WIDTH, WIDTH)),
            ("attn.c_proj", (WIDTH, WIDTH)),
            ("ln_2", (WIDTH,)),
            ("mlp.c_fc", (mlp, WIDTH)),
            ("mlp.c_proj", (WIDTH, mlp)),
        ):
            yield p + name + ".weight", shape
            yield p + name + ".bias", shape[:1]
    yield "transformer.ln_f.weight", (WIDTH,)
    yield "transformer.ln_f.bias", (WIDTH,)


def draw(shapes, seed):
    """Nothing stays at the value an initialisation would give it."""
    g = torch.Generator().manual_seed(seed)
    p = {}
    for name, shape in shapes:
        x = torch.randn(shape, generator=g)
        if len(shape) == 2:
            x = 0.3 * x
        elif name.endswith("bias"):
            x = 0.1 * x
        else:
            x = 1 + 0.2 * x
        p[name] = x.requires_grad_()
    return p


def batch(seed):
    g = torch.Generator().manual_seed(seed)
    n = sum(SPANS)
    tokens = torch.randint(VOCAB, (n,), generator=g)
    labels = torch.randint(VOCAB, (n,), generator=g)
    counts = torch.ones(n, dtype=torch.bool)
    counts[[2, 6, 9, 10, 13]] = False
    position = torch.cat([torch.arange(s) for s in SPANS])
    span = torch.cat([torch.full((s,), i) for i, s in enumerate(SPANS)])
    seen = (span[:, None] == span[None, :]) & (position[:, None] >= position[None, :])
    return tokens, labels, counts, position, seen


def attend(q, k, v, seen):
    """(N, heads, HEAD) each; k and v repeated over the query heads of their group."""
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    v = v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)
    s = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(HEAD)
    s = s.masked_fill(~seen, -math.inf).softmax(-1)
    return torch.einsum("hqk,khd->qhd", s, v).flatten(1)


def rms(x, gain):
    return gain * x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)


def frequencies(scaled):
    """As the paper says, one after the other: which are slow, which are fast, and what is between."""
    out = []
    for j in range(HEAD // 2):
        f = 10000.0 ** (-2 * j / HEAD)
        if scaled:
            length = 2 * math.pi / f
            original, low, high = (SCALING[k] for k in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"))
            if length > original / low:
                f /= SCALING["factor"]
            elif length >= original / high:
                s = (original / length - low) / (high - low)
                f = (1 - s) * f / SCALING["factor"] + s * f
        out.append(f)
    return torch.tensor(out)


def rotate(x, position, scaled):
    half = HEAD // 2
    freq = frequencies(scaled)
    angle = (position[:, None] * freq)[:, None, :]
    c, s = angle.cos(), angle.sin()
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * c - b * s, b * c + a * s], -1)


def llama(shape):
    """Qwen3 has norms on the heads of q and k, Qwen2 has biases on q, k and v, Llama has a head of its own."""

    def forward(p, tokens, position, seen):
        n = len(tokens)
        scaled = shape == "llama"
        x = p["model.embed_tokens.weight"][tokens]
        for i in range(LAYERS):
            w = lambda name: p[f"model.layers.{i}.{name}.weight"]
            h = rms(x, w("input_layernorm"))
            q, k, v = ((h @ w(f"self_attn.{m}_proj").T + p.get(f"model.layers.{i}.self_attn.{m}_proj.bias", 0)).view(n, -1, HEAD) for m in "qkv")
            if shape == "qwen3":
                q, k = rms(q, w("self_attn.q_norm")), rms(k, w("self_attn.k_norm"))
            q, k = rotate(q, position, scaled), rotate(k, position, scaled)
            x = x + attend(q, k, v, seen) @ w("self_attn.o_proj").T
            h = rms(x, w("post_attention_layernorm"))
            h = F.silu(h @ w("mlp.gate_proj").T) * (h @ w("mlp.up_proj").T)
            x = x + h @ w("mlp.down_proj").T
        return rms(x, p["model.norm.weight"]) @ p.get("lm_head.weight", p["model.embed_tokens.weight"]).T

    return forward


def gpt2(p, tokens, position, seen):
    n = len(tokens)

    def norm(x, name):
        m = x.mean(-1, keepdim=True)
        r = torch.rsqrt(((x - m) ** 2).mean(-1, keepdim=True) + 1e-5)
        return p[name + ".weight"] * (x - m) * r + p[name + ".bias"]

    def linear(x, name):
        return x @ p[name + ".weight"].T + p[name + ".bias"]

    x = p["transformer.wte.weight"][tokens] + p["transformer.wpe.weight"][position]
    for i in range(LAYERS):
        b = f"transformer.h.{i}."
        q, k, v = linear(norm(x, b + "ln_1"), b + "attn.c_attn").view(n, 3, HEADS, HEAD).unbind(1)
        x = x + linear(attend(q, k, v, seen), b + "attn.c_proj")
        h = linear(norm(x, b + "ln_2"), b + "mlp.c_fc")
        h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
        x = x + linear(h, b + "mlp.c_proj")
    return norm(x, "transformer.ln_f") @ p["transformer.wte.weight"].T


def library_model(shape, p):
    """The same decoder out of transformers, in float64."""
    import transformers

    common = dict(vocab_size=VOCAB, bos_token_id=0, eos_token_id=0, tie_word_embeddings=shape != "llama", attn_implementation="eager")
    if shape != "gpt2":
        name = {"qwen3": "Qwen3", "qwen2": "Qwen2", "llama": "Llama"}[shape]
        rope = {**(SCALING if shape == "llama" else {"rope_type": "default"}), "rope_theta": 10000.0}
        head = {} if shape == "qwen2" else {"head_dim": HEAD}
        config = getattr(transformers, name + "Config")(
            hidden_size=WIDTH, intermediate_size=24, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            num_key_value_heads=1, max_position_embeddings=64, rms_norm_eps=1e-6, rope_parameters=rope, **head, **common)
        model = getattr(transformers, name + "ForCausalLM")(config)
    else:
        config = transformers.GPT2Config(
            n_embd=WIDTH, n_inner=64, n_layer=LAYERS, n_head=HEADS, n_positions=CONTEXT,
            activation_function="gelu_new", **common)
        model = transformers.GPT2LMHeadModel(config)
    model = model.double().eval()
    state = {}
    for name, x in p.items():
        transposed = shape == "gpt2" and x.dim() == 2 and ".h." in name
        state[name] = (x.T if transposed else x).detach().clone()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert unexpected == [] and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    return model


def check_against_library(shape, p, logits, tokens):
    """transformers computes norms, softmax and RoPE in float32 whatever the model's type; for the
    length of this check float32 is made to mean float64, so that only true differences remain."""
    import transformers

    model = library_model(shape, p)
    real = torch.float32, torch.float, torch.Tensor.float
    torch.float32, torch.float, torch.Tensor.float = torch.float64, torch.float64, torch.Tensor.double
    try:
        if shape != "gpt2":
            rope = model.model.rotary_emb  # its frequencies are rounded to float32
            exact = frequencies(shape == "llama")
            assert torch.allclose(rope.inv_freq.double(), exact, rtol=1e-6), (rope.inv_freq, exact)
            rope.inv_freq = exact
        worst, at = 0.0, 0
        with torch.no_grad():
            for n in SPANS:
                theirs = model(tokens[None, at : at + n], use_cache=False).logits[0]
                worst = max(worst, (theirs - logits[at : at + n]).abs().max().item())
                at += n
    finally:
        torch.float32, torch.float, torch.Tensor.float = real
    assert worst < 1e-12, f"{shape}: transformers differs by {worst}"
    return {"version": transformers.__version__, "largest_logit_difference": worst}


def pack(x):
    raw = x.detach().to(torch.float64).contiguous().numpy().astype("<f8").tobytes()
    return base64.b64encode(raw).decode()


def record(shape, forward, shapes, seed):
    p = draw(shapes, seed)
    tokens, labels, counts, position, seen = batch(seed + 1)
    decayed = [n for n, x in p.items() if x.dim() == 2 and (".layers." in n or ".h." in n or n == "lm_head.weight")]

    def loss_of():
        logits = forward(p, tokens, position, seen)
        nats = F.cross_entropy(logits, labels, reduction="none")
        return logits, nats, nats[counts].sum() / counts.sum()

    logits, nats, loss = loss_of()
    library = check_against_library(shape, p, logits.detach(), tokens)
    loss.backward()
    out = {
        "recorded_by": f"record.py, torch {torch.__version__}, python {sys.version.split()[0]}",
        "transformers": library,
        "spans": SPANS,
        "tokens": tokens.tolist(),
        "labels": labels.tolist(),
        "counts": counts.tolist(),
        "loss": loss.item(),
        "nats": pack(nats),
        "logits": pack(logits),
        "adamw": {"lr": LR, "beta1": BETAS[0], "beta2": BETAS[1], "eps": EPS, "weight_decay": DECAY, "clip": CLIP},
        "steps": [],
        "tensors": [
            {"name": n, "shape": list(x.shape), "decay": n in decayed, "value": pack(x), "grad": pack(x.grad)}
            for n, x in p.items()
        ],
    }
    opt = torch.optim.AdamW(
        [{"params": [p[n] for n in decayed], "weight_decay": DECAY},
         {"params": [x for n, x in p.items() if n not in decayed], "weight_decay": 0.0}],
        lr=LR, betas=BETAS, eps=EPS)
    for _ in range(STEPS):
        opt.zero_grad()
        _, _, loss = loss_of()
        loss.backward()
        norm = math.sqrt(sum((x.grad**2).sum().item() for x in p.values()))
        scale = min(1.0, CLIP / norm)  # without the 1e-6 that clip_grad_norm_ adds to the norm
        for x in p.values():
            x.grad.mul_(scale)
        opt.step()
        out["steps"].append({"loss": loss.item(), "grad_norm": norm})
    for t in out["tensors"]:
        t["after"] = pack(p[t["name"]])
    out["loss_after"] = loss_of()[2].item()
    path = pathlib.Path(__file__).parent / f"{shape}.json"
    path.write_text(json.dumps(out, indent=1) + "\n")
    print(f"{path.name}: {sum(x.numel() for x in p.values())} parameters, {path.stat().st_size} bytes, "
          f"loss {out['loss']:.6f} -> {out['loss_after']:.6f}, norms "
          + " ".join(f"{s['grad_norm']:.3f}" for s in out["steps"])
          + f", transformers {library['version']}: {library['largest_logit_difference']:.1e}")


record("qwen3", llama("qwen3"), shapes_llama("qwen3"), 20)
record("qwen2", llama("qwen2"), shapes_llama("qwen2"), 60)
record("llama", llama("llama"), shapes_llama("llama"), 80)
record("gpt2", gpt2, shapes_gpt2(), 40)
