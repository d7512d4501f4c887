"""Records what lm-evaluation-harness makes of the tasks beside this file: harness.json, and tokenizer.json for it.

    pip install torch transformers lm-eval
    python harness.py                  # records
    python harness.py MODEL OUT.json   # asks another model, for bench/transformers/tasks.py

The model is a tiny Llama. Numbers of tensor number i, in the order of their names, are 0.3·sin(0.37·k² + i); those of
gains are above 1. The tokenizer is trained on the tasks.
"""

import json
import os
import pathlib
import sys
import tempfile

os.environ["HF_DATASETS_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"

import lm_eval
import tokenizers
import torch
import transformers
from lm_eval.tasks import TaskManager

HERE = pathlib.Path(__file__).parent
END = "<|endoftext|>"
CHOICES = "output_type: multiple_choice\nmetric_list:\n- metric: acc\n- metric: acc_norm\n- metric: acc_bytes\n"
ARC = 'doc_to_text: "Question: {{question}}\\nAnswer:"\ndoc_to_choice: "{{choices.text}}"\n' \
      'doc_to_target: "{{choices.label.index(answerKey)}}"\n'
# The fields are those of the harness' own tasks: hellaswag, arc_easy, piqa and gsm8k.
TASKS = {
    "endings": CHOICES + 'doc_to_text: "{{query}}"\ndoc_to_choice: choices\ndoc_to_target: "{{gold}}"\n',
    "science": CHOICES + ARC,
    "science_2": CHOICES + ARC,
    "ways": CHOICES + 'doc_to_text: "Question: {{goal}}\\nAnswer:"\ndoc_to_choice: "{{[sol1, sol2]}}"\n'
                      'doc_to_target: "{{label}}"\n',
    "sums": 'output_type: generate_until\ndoc_to_text: "Question: {{question}}\\nAnswer:"\ndoc_to_target: "{{answer}}"\n'
            'generation_kwargs:\n  until: ["Question:", "</s>", "<|im_end|>"]\n  do_sample: false\n'
            'metric_list:\n- metric: exact_match\n  ignore_case: true\n  ignore_punctuation: false\n'
            '  regexes_to_ignore: [",", "\\\\$", "(?s).*#### ", "\\\\.$"]\n'
            'filter_list:\n- name: strict\n  filter:\n  - function: regex\n'
            '    regex_pattern: "#### (\\\\-?[0-9\\\\.\\\\,]+)"\n  - function: take_first\n'
            '- name: flexible\n  filter:\n  - function: regex\n    group_select: -1\n'
            '    regex_pattern: "(-?[$0-9.,]{2,})|(-?[0-9]+)"\n  - function: take_first\n',
}
SHOTS = {"science_2": 2}


def lines(name):
    return [json.loads(line) for line in (HERE / "tasks" / f"{name}.jsonl").read_text().splitlines()]


def prepared(name):
    from lm_eval.tasks.hellaswag.utils import preprocess
    docs = lines(name.split("_")[0])
    for d in docs:
        if "endings" in d:  # as tasks/hellaswag/utils.py
            text = d["activity_label"] + ": " + d["ctx_a"] + " " + d["ctx_b"].capitalize()
            d.update(query=preprocess(text), choices=[preprocess(e) for e in d["endings"]], gold=int(d["label"]))
        if isinstance(d.get("question"), dict):  # as Hugging Face has it
            q = d["question"]
            d.update(question=q["stem"], choices={k: [c[k] for c in q["choices"]] for k in ("text", "label")})
        if "label" in d:
            d["label"] = int(d["label"])
    return docs


def fill(model):
    with torch.no_grad():
        for i, (name, p) in enumerate(sorted(model.named_parameters())):
            k = torch.arange(p.numel(), dtype=torch.float64)
            p.copy_((0.3 * torch.sin(0.37 * k * k + i)).reshape(p.shape))
            if "norm" in name:
                p.add_(1)


def record():
    texts = [p.read_text() for p in sorted((HERE / "tasks").glob("*.jsonl"))]
    tok = tokenizers.Tokenizer(tokenizers.models.BPE())
    tok.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = tokenizers.decoders.ByteLevel()
    tok.train_from_iterator(texts, tokenizers.trainers.BpeTrainer(
        vocab_size=320, special_tokens=[END], initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    tok.save(str(HERE / "tokenizer.json"), pretty=False)
    with tempfile.TemporaryDirectory() as dir:
        dir = pathlib.Path(dir)
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tok, eos_token=END, bos_token=END)
        fast.save_pretrained(dir / "model")
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=320, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-6, tie_word_embeddings=False,
            bos_token_id=0, eos_token_id=0))
        fill(model)
        model.save_pretrained(dir / "model")
        ask(dir / "model", HERE / "harness.json")


def ask(model, path):
    out = {"lm_eval": lm_eval.__version__, "tasks": {}}
    with tempfile.TemporaryDirectory() as dir:
        dir = pathlib.Path(dir)
        for name, text in TASKS.items():
            (dir / f"{name}.jsonl").write_text("".join(json.dumps(d) + "\n" for d in prepared(name)))
            (dir / f"{name}.yaml").write_text(
                f"task: own_{name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {dir}/{name}.jsonl\n"
                f"test_split: test\nfewshot_split: test\nfewshot_config:\n  sampler: first_n\n"
                f"num_fewshot: {SHOTS.get(name, 0)}\n{text}")
        result = lm_eval.simple_evaluate(
            model="hf", model_args={"pretrained": str(model), "dtype": "float32", "device": "cpu"},
            tasks=[f"own_{n}" for n in TASKS], task_manager=TaskManager(include_path=str(dir), include_defaults=False),
            log_samples=True, bootstrap_iters=0, batch_size=1)
        for name in TASKS:
            task = {"shots": SHOTS.get(name, 0), "items": [], "metrics": {}}
            for key, value in result["results"][f"own_{name}"].items():
                if isinstance(value, float):
                    task["metrics"][key] = value
            for s in sorted(result["samples"][f"own_{name}"], key=lambda s: (s["doc_id"], s["filter"])):
                if "multiple" in TASKS[name].split("\n")[0]:
                    task["items"].append({
                        "contexts": [a[0] for a in arguments(s)], "rests": [a[1] for a in arguments(s)],
                        "loglikelihoods": [float(r[0][0]) for r in s["resps"]]})
                elif s["filter"] == "strict":
                    task["items"].append({"contexts": [arguments(s)[0][0]], "text": s["resps"][0][0]})
            out["tasks"][name] = task
    pathlib.Path(path).write_text(json.dumps(out) + "\n")


def arguments(sample):
    args = sample["arguments"]
    return [list(a.values()) if isinstance(a, dict) else a for a in (args.values() if isinstance(args, dict) else args)]


ask(*sys.argv[1:]) if len(sys.argv) > 1 else record()
