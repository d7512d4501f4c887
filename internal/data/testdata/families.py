"""Records what transformers makes of the conversations in conversations.jsonl with each template of families.txt.

    go test ./internal/data -run TestFamilies -write /tmp/families
    python3 internal/data/testdata/families.py /tmp/families

The templates are ours. Each behaves as that of a family of models does, and marks what the assistant says with
generation blocks, which are left out once more to see that they change nothing.
"""
import datetime
import json
import os
import re
import sys

import jinja2
import transformers
from transformers.utils import chat_template_utils

here = os.path.dirname(os.path.abspath(__file__))
chats = [json.loads(line) for line in open(os.path.join(here, "conversations.jsonl"), encoding="utf-8")]


class Day(datetime.datetime):
    @classmethod
    def now(cls):
        return cls(2024, 7, 26)


chat_template_utils.datetime = Day
out = {"versions": {"jinja2": jinja2.__version__, "transformers": transformers.__version__}, "families": {}}
text = open(os.path.join(here, "families.txt"), encoding="utf-8").read()
for section in ("\n" + text).split("\n=== ")[1:]:
    head, template = section.split("\n", 1)
    name, spec = head.split(" ", 1)
    spec = json.loads(spec)
    folder = os.path.join(sys.argv[1], name)
    file = os.path.join(folder, "tokenizer.json")
    raw = json.load(open(file, encoding="utf-8"))
    for token in raw["added_tokens"]:
        token["rstrip"] = token["content"] in spec.get("right", [])
    json.dump(raw, open(file, "w", encoding="utf-8"))
    names = {key + "_token": spec[key] for key in ("bos", "eos", "pad") if key in spec}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=file, **names)
    plain = re.sub(r"\{%-? *(end)?generation *-?%\}", "", template)
    recorded = []
    for chat in chats:
        args = dict(tools=chat.get("tools"), documents=chat.get("documents"), chat_template=template)
        try:
            text = tokenizer.apply_chat_template(chat["messages"], tokenize=False, **args)
            got = tokenizer.apply_chat_template(chat["messages"], return_dict=True, return_assistant_tokens_mask=True, **args)
            ids, mask = got["input_ids"], "".join(map(str, got["assistant_masks"]))
            if any(s in m["content"] for m in chat["messages"] if m["content"] for s in spec["specials"]):
                ids, mask = [], ""  # there they are tokens
        except Exception as e:
            recorded.append({"error": type(e).__name__ + ": " + str(e)[:80]})
            continue
        args["chat_template"] = plain
        assert text == tokenizer.apply_chat_template(chat["messages"], tokenize=False, **args), name
        prompt = tokenizer.apply_chat_template(chat["messages"][:-1], add_generation_prompt=True, return_dict=True,
                                               **args)["input_ids"]
        recorded.append({"ids": ids, "mask": mask, "prompt": prompt, "text": text})
    out["families"][name] = recorded
with open(os.path.join(here, "families.json"), "w") as f:
    json.dump(out, f)
    f.write("\n")
