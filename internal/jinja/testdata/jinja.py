"""Records what jinja2 writes of the templates in cases.txt, as transformers sets it up.

    python3 internal/jinja/testdata/jinja.py

A line of cases.txt is a template, with ⏎ for a line break outside of its strings.
"""
import json
import os

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template as compile_template

here = os.path.dirname(os.path.abspath(__file__))
variables = json.load(open(os.path.join(here, "variables.json")))
cases = []
for line in open(os.path.join(here, "cases.txt"), encoding="utf-8"):
    template = line.rstrip("\n").replace("⏎", "\n")
    case = {"template": template}
    try:
        case["output"] = compile_template(template).render(**variables)
    except Exception as e:
        case["error"] = type(e).__name__ + ": " + str(e)[:80]
    cases.append(case)
out = {"versions": {"jinja2": jinja2.__version__, "transformers": transformers.__version__},
       "variables": variables, "cases": cases}
with open(os.path.join(here, "jinja.json"), "w", encoding="utf-8") as f:
    json.dump(out, f, ensure_ascii=False, indent=0)
    f.write("\n")
