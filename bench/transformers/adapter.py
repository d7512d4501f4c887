"""Compares an adapter with PEFT: loaded there, and merged here.

    pip install torch transformers peft
    gimbal export RUN adapter && gimbal export RUN merged --merge
    python adapter.py adapter merged

The base is the one that adapter_config.json names. Exit status 1 if a logit differs by more than 1e-4.
"""

import json
import pathlib
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

adapter, merged = sys.argv[1:]
base = json.loads((pathlib.Path(adapter) / "adapter_config.json").read_text())["base_model_name_or_path"]
torch.manual_seed(1)
with torch.no_grad():
    def load(path):
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    model = PeftModel.from_pretrained(load(base), adapter).eval()
    ids = torch.randint(0, model.config.vocab_size, (2, 40))
    theirs, ours = model(ids).logits, load(merged).eval()(ids).logits
    with model.disable_adapter():
        without = model(ids).logits
off, change = (theirs - ours).abs().max().item(), (theirs - without).abs().max().item()
print(f"largest difference {off:.2g}; the adapter changes logits by up to {change:.2g}")
sys.exit(off > 1e-4 or change < 1e-3)
