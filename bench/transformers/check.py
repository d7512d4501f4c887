"""Loads a checkpoint directory in Hugging Face transformers, as it is, and compares logits.

    pip install torch transformers
    python check.py [--logits FILE] DIR [DIR ...]

Each DIR holds config.json, generation_config.json and model.safetensors. The logits to compare with are
in FILE, or in DIR/logits.json: {"tokens": [[...], ...], "logits": [[[...], ...], ...]}, one row of logits
for each token. Exit status 1 if a tensor is missing, unused or misshaped, or a logit is off by more than 1e-4.
"""

import argparse
import json
import pathlib
import sys

import safetensors
import torch
import transformers

LIMIT = 1e-4


def check(path, logits):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(path, output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if info[key]:
            return f"{key}: {info[key]}"
    config = json.loads((path / "config.json").read_text())
    if type(model).__name__ != config["architectures"][0]:
        return f"loaded as {type(model).__name__}"
    if model.dtype != torch.float32:
        return f"loaded as {model.dtype}"
    if model.generation_config.eos_token_id != config["eos_token_id"]:
        return f"generation stops at {model.generation_config.eos_token_id}"
    model.eval()
    ours = json.loads(logits.read_text())
    worst = largest = 0.0
    count = 0
    for tokens, want in zip(ours["tokens"], ours["logits"], strict=True):
        with torch.no_grad():
            got = model(torch.tensor([tokens])).logits[0]
        want = torch.tensor(want)
        if got.shape != want.shape:
            return f"logits have shape {tuple(got.shape)}, recorded are {tuple(want.shape)}"
        if not got.isfinite().all():
            return "logits are not finite"
        worst = max(worst, (got - want).abs().max().item())
        largest = max(largest, want.abs().max().item())
        count += want.numel()
    if count == 0:
        return "nothing to compare"
    print(f"{path.name}: {type(model).__name__}, {sum(p.numel() for p in model.parameters())} parameters, "
          f"{count} logits up to {largest:.1f}, largest difference {worst:.1e}")
    return None if worst <= LIMIT else f"logits differ by more than {LIMIT}"


args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
args.add_argument("dirs", metavar="DIR", nargs="+", type=pathlib.Path)
args.add_argument("--logits", metavar="FILE", type=pathlib.Path)
args = args.parse_args()
print(f"python {sys.version.split()[0]}, torch {torch.__version__}, transformers {transformers.__version__}, "
      f"safetensors {safetensors.__version__}")
failed = False
for path in args.dirs:
    logits = args.logits or path / "logits.json"
    absent = [p for p in (path / "config.json", logits) if not p.is_file()]
    fault = f"{absent[0]} is not there" if absent else check(path, logits)
    if fault:
        print(f"{path.name}: FAILED: {fault}")
        failed = True
sys.exit(failed)
