"""Records what TRL's sigmoid loss (DPO) makes of a tiny decoder: dpo.json.

    pip install torch transformers trl
    python dpo.py

The weights are those of ../../model/testdata/parity/qwen3.json, in a Qwen3 of
transformers in float64. The loss, the rewards and the gradients come from
DPOTrainer._compute_loss of TRL, which is called as it is installed; only the
log-probabilities that it asks its model for are computed here, by log_softmax.
The reference is the same decoder with other weights. TRL's label smoothing is
not in this loss any more; it is recorded as conservative DPO writes it.
Tensors are base64 of little-endian float64.
"""

import base64
import collections
import json
import pathlib
import types

import numpy
import torch
import transformers
import trl
from torch.nn import functional as F
from trl.trainer.dpo_trainer import DPOTrainer

torch.set_num_threads(1)
torch.float32, torch.float, torch.Tensor.float = torch.float64, torch.float64, torch.Tensor.double  # norms and RoPE too
here = pathlib.Path(__file__).parent
golden = json.loads((here / "../../model/testdata/parity/qwen3.json").read_text())
BETA, SMOOTHING, VOCAB = 0.1, 0.2, 29
PAIRS = [(3, 7, 5), (1, 4, 9), (5, 11, 12), (2, 6, 6)]  # tokens of the prompt, and of it with each answer


def unpack(text):
    return torch.from_numpy(numpy.frombuffer(base64.b64decode(text), "<f8").copy())


def pack(x):
    return base64.b64encode(x.detach().double().contiguous().numpy().astype("<f8").tobytes()).decode()


def decoder(noise):
    config = transformers.Qwen3Config(
        vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=64, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, tie_word_embeddings=True,
        attn_implementation="eager")
    model = transformers.Qwen3ForCausalLM(config).double().train()
    g = torch.Generator().manual_seed(7)
    state = {}
    for t in golden["tensors"]:
        x = unpack(t["value"]).reshape(t["shape"])
        state[t["name"]] = x * (1 + noise * torch.randn(x.shape, generator=g, dtype=torch.float64))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert unexpected == [] and set(missing) <= {"lm_head.weight"}
    model.model.rotary_emb.inv_freq = 10000.0 ** (-2 * torch.arange(4, dtype=torch.float64) / 8)
    return model


def logprobs(model, input_ids, attention_mask, labels):
    logits = model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits[:, :-1]
    labels = labels[:, 1:]
    taken = logits.log_softmax(-1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
    return taken * (labels != -100)


g = torch.Generator().manual_seed(11)
rows = {0: [], 1: []}
for prompt, chosen, rejected in PAIRS:
    head = torch.randint(VOCAB, (prompt,), generator=g)
    for side, n in enumerate((chosen, rejected)):
        rows[side].append((prompt, torch.cat([head, torch.randint(VOCAB, (n - prompt,), generator=g)])))
batch = rows[0] + rows[1]
longest = max(len(ids) for _, ids in batch)
input_ids = torch.stack([F.pad(ids, (0, longest - len(ids))) for _, ids in batch])
attention_mask = torch.stack([F.pad(torch.ones(len(ids), dtype=torch.long), (0, longest - len(ids))) for _, ids in batch])
completion_mask = attention_mask.clone()
for row, (prompt, _) in zip(completion_mask, batch):
    row[:prompt] = 0
labels = input_ids.masked_fill(completion_mask == 0, -100)

policy, frozen = decoder(0), decoder(0.05)
with torch.no_grad():
    reference = logprobs(frozen, input_ids, attention_mask, labels).sum(1)


def called(**kw):
    lp = logprobs(policy, kw["input_ids"], kw["attention_mask"], kw["labels"])
    nothing = torch.zeros_like(lp)
    return types.SimpleNamespace(log_probs=lp, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool())


same = lambda x: x
metrics = collections.defaultdict(list)
trainer = types.SimpleNamespace(
    model=types.SimpleNamespace(training=True), aux_loss_enabled=False, ld_alpha=None, precompute_ref_logps=True,
    f_divergence_type="reverse_kl", loss_types=["sigmoid"], loss_weights=[1.0], beta=BETA, label_smoothing=0.0,
    use_weighting=False, _metrics={"train": metrics}, _total_train_tokens=0, _tp_size=1,
    accelerator=types.SimpleNamespace(device="cpu", gather=same, gather_for_metrics=same))
chosen_ref, rejected_ref = reference.chunk(2)
inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "completion_mask": completion_mask,
          "ref_chosen_logps": chosen_ref, "ref_rejected_logps": rejected_ref}
loss = DPOTrainer._compute_loss(trainer, called, inputs, False)
loss.backward()

with torch.no_grad():
    now = logprobs(policy, input_ids, attention_mask, labels).sum(1)
    ratio = (now - reference).chunk(2)
    h = BETA * (ratio[0] - ratio[1])
    smoothed = (-(1 - SMOOTHING) * F.logsigmoid(h) - SMOOTHING * F.logsigmoid(-h)).mean()

out = {
    "recorded_by": f"dpo.py, trl {trl.__version__}, torch {torch.__version__}, transformers {transformers.__version__}",
    "beta": BETA, "smoothing": SMOOTHING,
    "sequences": [{"prompt": batch[i][0], "ids": batch[i][1].tolist(), "reference_nats": -reference[i].item(),
                   "nats": -now[i].item()} for k in range(len(PAIRS)) for i in (k, k + len(PAIRS))],
    "loss": loss.item(), "smoothed_loss": smoothed.item(),
    "chosen_reward": metrics["rewards/chosen"][0], "rejected_reward": metrics["rewards/rejected"][0],
    "margin": metrics["rewards/margins"][0], "accuracy": metrics["rewards/accuracies"][0],
    "gradients": {n: pack(x.grad) for n, x in policy.named_parameters()},
}
(here / "dpo.json").write_text(json.dumps(out, indent=1) + "\n")
print({k: v for k, v in out.items() if isinstance(v, (float, str))})
