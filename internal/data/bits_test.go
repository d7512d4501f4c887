package data

import (
	"math/rand/v2"
	"strings"
	"testing"

	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// TestPreparedBits: text that was fixed once gives the vocabulary and the cache that it gave when this was recorded,
// for any number of workers. Old runs find their cache, and open, only if that holds.
func TestPreparedBits(t *testing.T) {
	const wantTokenizer = "a425d657c8cf6c89d5348c63ec5a9fd60ef7ce6c04b0bfbd3d8932f4f6ddbf63"
	const wantSet = "ebb3143d5725027540af5f798428c6e444ffe3edd1677f5472d84afd95616e9e"
	const wantSequences = 484
	r := rand.New(rand.NewPCG(12, 2))
	letters := []rune("etaoinshrdlucmfwypvbgkjqxzETAOIN_étüßпривет中文字\u0301\U00020000")
	words := make([]string, 3000)
	for i := range words {
		for range 1 + r.IntN(18) {
			words[i] += string(letters[min(len(letters)-1, int(r.ExpFloat64()*8))])
		}
	}
	between := strings.Split(" | | | |  |\t|\n|\n\n\t|\r\n|, |.|'s |'re |(|)|{\n\t\t| = |1|2024|3.14"+
		"| \u00a0|\xff|\xe4\xb8|😀", "|")
	text := func(n int) string {
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(words[min(len(words)-1, int(r.ExpFloat64()*300))])
			b.WriteString(between[r.IntN(len(between))])
		}
		return b.String()
	}
	dir := t.TempDir()
	write(t, dir, "long.txt", text(700_000)+strings.Repeat("ab", 40_000)+strings.Repeat(" ", 5000))
	var texts []string
	for range 400 {
		texts = append(texts, text(r.IntN(3000)))
	}
	jsonLines(t, dir, "many.jsonl", texts)
	for _, workers := range []int{1, 3} {
		c := discover(t, corpus.Options{}, dir)
		tok, _, err := tokenizer.TrainBPE(t.Context(), c.Texts(t.Context()),
			tokenizer.TrainOptions{VocabSize: 1500, Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		if tok.Hash() != wantTokenizer {
			t.Errorf("%d workers: tokenizer %s, want %s", workers, tok.Hash(), wantTokenizer)
		}
		s := prepare(t, c, tok, PrepareOptions{ValFraction: 0.1, Workers: workers, shard: 100_000})
		if n := s.Val(64).Sequences(); s.Hash != wantSet || n != wantSequences {
			t.Errorf("%d workers: set %s with %d sequences of validation, want %s with %d", workers, s.Hash, n, wantSet,
				wantSequences)
		}
	}
}
