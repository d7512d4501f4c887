"""Records what PEFT computes with an adapter: nats, and the gradients of its tensors, in float64.

    pip install torch transformers peft
    python peft_record.py > ../peft.json

Numbers of tensor number i, in the order of their names, are scale·sin(0.37·k + i); those of gains are above 1.
"""

import json
import math

import peft
import torch
import transformers

SHAPES = {
    "llama": transformers.LlamaConfig(
        vocab_size=19, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=4, max_position_embeddings=32, rms_norm_eps=1e-6, tie_word_embeddings=False),
    "gpt2": transformers.GPT2Config(
        vocab_size=19, n_embd=16, n_inner=24, n_layer=1, n_head=4, n_positions=32, resid_pdrop=0, embd_pdrop=0,
        attn_pdrop=0),
}
CASES = [("llama", dict(use_dora=True)), ("llama", dict(use_rslora=True)), ("gpt2", dict(use_dora=True))]
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3]


def fill(named, scale):
    with torch.no_grad():
        for i, (name, p) in enumerate(sorted(named)):
            k = torch.arange(p.numel(), dtype=torch.float64)
            p.copy_((scale * torch.sin(0.37 * k + i)).reshape(p.shape))
            if ("norm" in name or "ln_" in name) and name.endswith("weight"):
                p.add_(1)
            if "magnitude" in name:
                p.add_(1)


out = {"peft": peft.__version__, "tokens": TOKENS, "cases": []}
for shape, more in CASES:
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(SHAPES[shape], attn_implementation="eager").double()
    fill(model.named_parameters(), 0.3)
    targets = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"] if shape == "llama" else ["c_attn", "c_fc"]
    conf = peft.LoraConfig(r=3, lora_alpha=4, target_modules=targets, task_type="CAUSAL_LM",
                           fan_in_fan_out=shape == "gpt2", **more)
    tuned = peft.get_peft_model(model, conf).double()
    own = {n: p for n, p in tuned.named_parameters() if p.requires_grad}
    fill(own.items(), 0.5)
    ids = torch.tensor([TOKENS])
    logits = tuned(ids).logits[0, :-1]
    loss = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")
    loss.backward()
    grads = {n.replace(".default.weight", ".weight").replace("vector.weight", "vector"):
             [float(f"{g:.12g}") for g in p.grad.flatten().tolist()] for n, p in own.items()}
    out["cases"].append({"shape": shape, "scale": 4 / math.sqrt(3) if "use_rslora" in more else 4 / 3,
                         "dora": "use_dora" in more, "nats": loss.item(), "gradients": grads})
print(json.dumps(out))
