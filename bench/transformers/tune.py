"""Fine-tunes a model as transformers and peft do, or measures one that was tuned elsewhere.

    tune.py train full|lora MODEL DATA OUT [STEPS]     Trainer's defaults, 60 steps of about 2,048 tokens
    tune.py measure MODEL FILE... [--adapter DIR]      nats per assistant token of each file

DATA is a folder with train.jsonl, a conversation per line. Prints one line of JSON. Time is CPU seconds of the process,
beside seconds on the clock, since machines are shared; memory is the peak of resident bytes.
"""

import argparse, json, resource, sys, time
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, set_seed


def encode(tok, messages):
    """Ids of a conversation and labels that count the assistant's turns alone."""
    ids = tok.apply_chat_template(messages, tokenize=True, return_dict=False)
    labels = [-100] * len(ids)
    for i, m in enumerate(messages):
        if m["role"] != "assistant":
            continue
        before = tok.apply_chat_template(messages[:i], tokenize=True, add_generation_prompt=True, return_dict=False)
        after = tok.apply_chat_template(messages[: i + 1], tokenize=True, return_dict=False)
        labels[len(before) : len(after)] = ids[len(before) : len(after)]
    return {"input_ids": ids[:2048], "labels": labels[:2048]}


def rows(tok, path, limit=None):
    with open(path) as f:
        return [encode(tok, json.loads(line)["messages"]) for line in f][:limit]


def collate(batch):
    n = max(len(b["input_ids"]) for b in batch)
    out = {"input_ids": [], "labels": [], "attention_mask": []}
    for b in batch:
        pad = n - len(b["input_ids"])
        out["input_ids"].append(b["input_ids"] + [0] * pad)
        out["labels"].append(b["labels"] + [-100] * pad)
        out["attention_mask"].append([1] * len(b["input_ids"]) + [0] * pad)
    return {k: torch.tensor(v) for k, v in out.items()}


def nats(model, data):
    """Mean nats per counted token, and the standard error over conversations."""
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for b in data:
            ids, labels = torch.tensor([b["input_ids"]]), torch.tensor(b["labels"])
            logp = torch.log_softmax(model(ids).logits[0].float(), -1)
            keep = labels[1:] >= 0
            total -= logp[:-1][keep].gather(1, labels[1:][keep][:, None]).sum().item()
            count += int(keep.sum())
    return {"nats": total / max(count, 1), "tokens": count}


def measure(a):
    tok = AutoTokenizer.from_pretrained(a.model)
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32)
    if a.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, a.adapter)
    return {f: nats(model, rows(tok, f, a.limit)) for f in a.files}


def train(a):
    set_seed(1)
    tok = AutoTokenizer.from_pretrained(a.model)
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32)
    rate = 5e-5
    if a.kind == "lora":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        )
        rate = 2e-4
    data = rows(tok, a.data + "/train.jsonl")
    mean = sum(len(d["input_ids"]) for d in data) / len(data)
    args = TrainingArguments(
        output_dir=a.out + ".work",
        max_steps=a.steps,
        learning_rate=rate,
        report_to=[],
        per_device_train_batch_size=max(1, round(2048 / mean)),
        use_cpu=True,
        save_strategy="no",
        logging_steps=1000,
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=args, train_dataset=data, data_collator=collate)
    wall, cpu = time.time(), time.process_time()
    trainer.train()
    wall, cpu = time.time() - wall, time.process_time() - cpu
    model.save_pretrained(a.out)
    tok.save_pretrained(a.out)
    return {
        "kind": a.kind,
        "steps": a.steps,
        "wall_s": wall,
        "cpu_s": cpu,
        "rate": rate,
        "batch": args.per_device_train_batch_size,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    s = p.add_subparsers(required=True)
    t = s.add_parser("train")
    t.add_argument("kind", choices=["full", "lora"])
    t.add_argument("model"), t.add_argument("data"), t.add_argument("out")
    t.add_argument("steps", type=int, nargs="?", default=60)
    t.set_defaults(run=train)
    m = s.add_parser("measure")
    m.add_argument("model"), m.add_argument("files", nargs="+")
    m.add_argument("--adapter"), m.add_argument("--limit", type=int)
    m.set_defaults(run=measure)
    a = p.parse_args()
    torch.set_num_threads(2)
    print(json.dumps(a.run(a)))


main()
