"""Records the ids that Hugging Face tokenizers gives for fixed texts under a small vocabulary of our own: wordpiece.json.

    python3 wordpiece.py > wordpiece.json
"""
import json
import sys

import tokenizers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

pieces = ["[PAD]", "[UNK]", "the", "mill", "##er", "##s", "turn", "##ed", "wheel", "river", "cafe", "na", "##ive", "un", "##turn", "##able", "a", "##a", "b",
          "!", ",", ".", "'", "-", "$", "長", "安", "12", "##3", "don", "t", "strasse", "x"]
tok = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]", max_input_chars_per_word=12))
tok.normalizer = normalizers.BertNormalizer(lowercase=True)
tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
texts = ["The millers turned the wheel.", "Café, naïve -- UNTURNABLE!", "長安 the長river", "don't $123", "aaaa b zebra the", "", "  \t the\u00a0river\n\u200bmill",
         "aaaaaaaaaaaaaaaaaaaaaaaa b", "turn\u0301ed", "the\x00mill \ufffd x"]
json.dump({"source": f"Python {sys.version.split()[0]}, tokenizers {tokenizers.__version__}", "tokenizer": json.loads(tok.to_str()), "texts": texts,
           "ids": [[i for i in tok.encode(t).ids if i != 1] for t in texts]}, sys.stdout, ensure_ascii=True, indent=1)
