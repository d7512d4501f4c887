package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// writeTexts writes the corpora of the matrix into dir: the same bytes each time.
func writeTexts(dir string) error {
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
	files["copies/a.txt"] = strings.Repeat(document(r, 40), 3)
	for i := range 30 {
		files[fmt.Sprintf("copies/b%d.txt", i)] = files["copies/a.txt"]
	}
	files["run.toml"] = strings.Join(append([]string{"[model]", "shape = \"llama\"", "tie = false", "layers = 1"}, "[optim]", "weight_decay = 0.2", ""), "\n")
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
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
