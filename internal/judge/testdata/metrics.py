"""Records what independent implementations say of fixed texts: metrics.json.

    python3 metrics.py > metrics.json

Needs nltk (BLEU, n-grams), scikit-learn (cosines) and numpy (SIF by singular value decomposition). zlib and difflib
are of Python itself. The texts are made here, from a generator and from sentences of our own.
"""
import difflib
import json
import sys
import zlib

import nltk
import numpy as np
import sklearn
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from nltk.util import ngrams
from sklearn.metrics.pairwise import cosine_similarity


def lcg(seed):
    state = seed
    while True:
        state = (state * 1103515245 + 12345) % 2**31
        yield state >> 16


def text(seed, n, vocab, loop=0, at=0):
    r = lcg(seed)
    ids = [next(r) % vocab for _ in range(n)]
    if loop:
        unit = ids[at:at + loop]
        for i in range(at, n):
            ids[i] = unit[(i - at) % loop]
    return ids


texts = [
    text(1, 64, 9), text(2, 128, 30), text(3, 40, 4), text(4, 128, 200, loop=7, at=50), text(5, 33, 2),
    text(6, 96, 50, loop=1, at=90), text(7, 128, 50, loop=32, at=10), text(2, 128, 30)[20:100], text(8, 5, 3),
]
train = [text(9, 400, 30) + texts[1][30:75] + text(10, 100, 30), text(11, 300, 9), texts[3][:49] + [999] + texts[3][60:]]


def repetition(ids, n):
    g = list(ngrams(ids, n))
    return 1 - len(set(g)) / len(g)


def distinct(all_ids, n):
    g = [x for ids in all_ids for x in ngrams(ids, n)]
    return len(set(g)) / len(g)


def loop(ids):
    """Brute force: the longest stretch with a period of at most 32 that it holds three times."""
    best = 0
    for i in range(len(ids)):
        for p in range(1, 33):
            j = i + p
            while j < len(ids) and ids[j] == ids[j - p]:
                j += 1
            if j - i >= 3 * p:
                best = max(best, j - i)
    return best


def match(ids):
    best = 0
    for t in train:
        m = difflib.SequenceMatcher(None, ids, t, autojunk=False).find_longest_match(0, len(ids), 0, len(t))
        best = max(best, m.size)
    return best


def novel(ids, n=5):
    have = {g for t in train for g in ngrams(t, n)}
    g = list(ngrams(ids, n))
    return sum(x not in have for x in g) / len(g)


smooth = SmoothingFunction(epsilon=0.1).method1
self_bleu = [sentence_bleu([t for j, t in enumerate(texts) if j != i], ids, smoothing_function=smooth) for i, ids in enumerate(texts)]

# hash-sif, from its definition.
M = 2**64


def fnv(b):
    h = 14695981039346656037
    for c in b:
        h = ((h ^ c) * 1099511628211) % M
    h ^= h >> 30
    h = h * 0xbf58476d1ce4e5b9 % M
    h ^= h >> 27
    h = h * 0x94d049bb133111eb % M
    return h ^ (h >> 31)


corpus = [
    "The miller opened the gate and the river turned the old wheel.",
    "Rain fell on the mill, and the wheel stood still until the evening.",
    "A ship came in from the north with salt, wool and a letter for the miller.",
    "The letter said that the price of wool had fallen again this winter.",
    "Nobody in the harbour knew the name of the captain or of his ship.",
]
sentences = [
    "The wheel of the mill turned in the river.",
    "The river turned the wheel of the old mill all night.",
    "The captain sold his wool in the harbour.",
    "In winter the price of salt and wool falls, said the captain.",
]
prompts = [0, 0, 1, 1]


def words(s):
    return "".join(c.lower() if c.isalnum() else " " for c in s).split()


counts = {}
for s in corpus:
    for w in words(s):
        counts[w] = counts.get(w, 0) + 1
total = sum(counts.values())


def sif(s):
    v = np.zeros(1024)
    ws = words(s)
    for w in ws:
        h = fnv(w.encode())
        sign = -1 if h & 1024 else 1
        v[h % 1024] += sign * 1e-3 / (1e-3 + counts.get(w, 0) / total)
    return v / len(ws)


rows = np.array([sif(s) for s in corpus])
mean = rows.mean(axis=0)
top = np.linalg.svd(rows - mean)[2][0]
vectors = np.array([sif(s) for s in sentences]) - mean
vectors -= np.outer(vectors @ top, top)
cos = cosine_similarity(vectors)
within = np.mean([cos[0][1], cos[2][3]])
between = np.mean([cos[i][j] for i in (0, 1) for j in (2, 3)])

json.dump({
    "source": f"Python {sys.version.split()[0]}, nltk {nltk.__version__}, scikit-learn {sklearn.__version__}, numpy {np.__version__}, zlib {zlib.ZLIB_RUNTIME_VERSION}",
    "texts": texts, "train": train,
    "rep3": [repetition(t, 3) for t in texts], "rep4": [repetition(t, 4) for t in texts],
    "distinct2": distinct(texts, 2), "distinct3": distinct(texts, 3),
    "loop": [loop(t) for t in texts], "match": [match(t) for t in texts], "novel5": [novel(t) for t in texts],
    "self_bleu": self_bleu,
    "compression_text": corpus + sentences + sentences,
    "compression": sum(len(s) for s in corpus + sentences + sentences) / len(zlib.compress("".join(corpus + sentences + sentences).encode(), 9)),
    "corpus": corpus, "sentences": sentences, "prompts": prompts, "cosine": cos.tolist(),
    "within": within, "between": between, "consistency": (within - between) / (1 - between),
}, sys.stdout, indent=1)
