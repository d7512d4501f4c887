"""Records what jinja2 and transformers make of our chat templates.

    go test ./internal/chat -run TestTemplate -write /tmp/chat
    python3 internal/chat/testdata/chat.py /tmp/chat

Recorded with the versions in chat.json. jinja2 is set up as transformers documents it for templates.
"""
import json
import os
import sys

import jinja2
import jinja2.sandbox
import transformers

source = sys.argv[1]
out = {"versions": {"jinja2": jinja2.__version__, "transformers": transformers.__version__}}
for name in sorted(os.listdir(source)):
    folder = os.path.join(source, name)
    chats = json.load(open(os.path.join(folder, "chats.json")))
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    source_text = open(os.path.join(folder, "chat_template.jinja")).read()
    template = environment.from_string(source_text)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    out[name] = {"template": source_text, "chats": []}
    for chat in chats:
        text = template.render(messages=chat, add_generation_prompt=False)
        prompt = template.render(messages=chat, add_generation_prompt=True)
        assert text == tokenizer.apply_chat_template(chat, tokenize=False)
        assert prompt == tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"]
        out[name]["chats"].append({"text": text, "prompt": prompt, "ids": ids})
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "chat.json"), "w") as f:
    json.dump(out, f)
    f.write("\n")
