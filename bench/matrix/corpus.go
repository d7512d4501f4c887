package main

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeTexts writes the corpora of the matrix into a folder of dir, the same bytes each time, and returns the folder.
// Its name is made of what is in it, so it is written once.
func writeTexts(dir string) (string, error) {
	files := corpora()
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(hash, "%s %d\n%s", name, len(files[name]), files[name])
	}
	folder := filepath.Join(dir, "gimbal-matrix-"+hex.EncodeToString(hash.Sum(nil)[:6]))
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	temp, err := os.MkdirTemp(dir, "gimbal-matrix-new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	for name, text := range files {
		path := filepath.Join(temp, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			return "", err
		}
	}
	err = os.Rename(temp, folder)
	if _, serr := os.Stat(folder); serr == nil {
		err = nil // another process was quicker
	}
	return folder, err
}

// corpora are the texts of the matrix by file.
func corpora() map[string]string {
	r := rand.New(rand.NewPCG(1, 2))
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprintf("text/doc%03d.txt", i)] = document(r, 3+r.IntN(12))
	}
	for i := range 25 {
		files[fmt.Sprintf("other/doc%03d.txt", i)] = document(r, 20)
	}
	var lines strings.Builder
	for range 300 {
		lines.WriteString(document(r, 2+r.IntN(3)) + "\n")
	}
	files["lines.txt"] = lines.String()
	files["chat.jsonl"] = conversations(r, 80)
	files["broken.jsonl"] = files["chat.jsonl"] + "{\"messages\": [}\n" + conversations(r, 1)
	var prompts strings.Builder
	for range 120 {
		fmt.Fprintf(&prompts, "{\"prompt\": %q, \"completion\": %q}\n", document(r, 1), document(r, 1+r.IntN(2)))
	}
	files["prompts.jsonl"] = prompts.String()
	var escapes strings.Builder
	for range 120 {
		const line = `{"id": -1.5e3, "text": "%s\u00e9\ud83d\ude00\n\t\"\\\/", "more": [null, {"x": true}]}`
		fmt.Fprintf(&escapes, line+"\n", document(r, 2))
	}
	files["escapes.jsonl.gz"] = packed(escapes.String())
	for i := range 40 {
		files[fmt.Sprintf("code/f%02d.go", i)] = code(r)
	}
	files["encoder/model.safetensors"], files["encoder/tokenizer.json"] = encoder(r)
	files["copies/a.txt"] = strings.Repeat(document(r, 40), 3)
	for i := range 30 {
		files[fmt.Sprintf("copies/b%d.txt", i)] = files["copies/a.txt"]
	}
	files["run.toml"] = `[model]
shape = "llama"
tie = false
layers = 1
[optim]
weight_decay = 0.2
`
	return files
}

// document is a text of a small language: enough structure to learn in a few steps.
func document(r *rand.Rand, sentences int) string {
	var b strings.Builder
	for range sentences {
		n := 1 + r.IntN(5)
		who := []string{"ann", "bob", "eve"}[r.IntN(3)]
		what := []string{"cat", "dog"}[r.IntN(2)] + strings.Repeat("s", min(1, n-1))
		fmt.Fprintf(&b, "%s sees %d %s. ", who, n, what)
	}
	return b.String()
}

// conversations are lines of JSONL with one or two answers each.
func conversations(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		var turns []string
		for range 1 + r.IntN(2) {
			k := 1 + r.IntN(5)
			turns = append(turns, fmt.Sprintf(`{"role": "user", "content": "how many are %d and 1?"}`, k),
				fmt.Sprintf(`{"role": "assistant", "content": "%d and 1 are %d."}`, k, k+1))
		}
		fmt.Fprintf(&b, "{\"messages\": [%s]}\n", strings.Join(turns, ", "))
	}
	return b.String()
}

// code is a small Go file.
func code(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("package sums\n")
	for i := range 2 + r.IntN(3) {
		fmt.Fprintf(&b, "\n// f%d adds %d.\nfunc f%d(x int) int {\n\treturn x + %[2]d\n}\n", i, r.IntN(9), i)
	}
	return b.String()
}

// packed is a text in gzip.
func packed(text string) string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		panic("matrix: a builder cannot fail")
	}
	if err := w.Close(); err != nil {
		panic("matrix: a builder cannot fail")
	}
	return b.String()
}

// encoder is a table of word pieces, one for each letter, and its tokenizer.
func encoder(r *rand.Rand) (table, pieces string) {
	const dims = 8
	vocab := map[string]int{}
	for c := 'a'; c <= 'z'; c++ {
		vocab[string(c)], vocab["##"+string(c)] = len(vocab), len(vocab)+1
	}
	raw, err := json.Marshal(map[string]any{
		"model": map[string]any{"type": "WordPiece", "vocab": vocab, "continuing_subword_prefix": "##",
			"max_input_chars_per_word": 100},
		"normalizer": map[string]any{"type": "BertNormalizer", "lowercase": true},
	})
	if err != nil {
		panic("matrix: a tokenizer that JSON cannot hold")
	}
	n := 4 * dims * len(vocab)
	head := fmt.Sprintf(`{"embeddings":{"dtype":"F32","shape":[%d,%d],"data_offsets":[0,%d]}}`, len(vocab), dims, n)
	head += strings.Repeat(" ", -len(head)&7)
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	b = append(b, head...)
	for range n / 4 {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(r.Float32()-0.5))
	}
	return string(b), string(raw)
}
