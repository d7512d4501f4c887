package tokenizer

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func BenchmarkTrain20MB(b *testing.B) {
	docs := goSource()
	n := 0
	for _, d := range docs {
		n += len(d)
	}
	b.SetBytes(int64(n))
	for b.Loop() {
		_, r, err := TrainBPE(context.Background(), docsOf(docs...), TrainOptions{VocabSize: 4096 + 257})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(r.Unique), "unique")
	}
}

func BenchmarkAppend(b *testing.B) {
	source := bytes.Join(goSource(), nil)
	own, _, err := TrainBPE(context.Background(), docsOf(source), TrainOptions{VocabSize: 4096})
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, t *Tokenizer, text []byte) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			var dst []int32
			for b.Loop() {
				dst, _ = t.Append(dst[:0], text)
			}
			b.ReportMetric(float64(len(text))/float64(len(dst)), "bytes/token")
		})
	}
	run("own4096/go", own, source)
	gpt2 := sharedTokenizer(b, "gpt2")
	run("gpt2/go", gpt2, source)
	run("gpt2/sotu", gpt2, sharedText(b, "sotu.jsonl.gz"))
	run("gpt2/tang", gpt2, sharedText(b, "tang-poems-zh.jsonl.gz"))
}

func sharedTokenizer(t testing.TB, name string) *Tokenizer {
	t.Helper()
	f, err := os.Open(filepath.Join(dataDir, "tokenizers", name+".tokenizer.json.gz"))
	if os.IsNotExist(err) {
		t.Skipf("third-party tokenizer %s is not beside the repository", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func BenchmarkTrainTang(b *testing.B) {
	text := sharedText(b, "tang-poems-zh.jsonl.gz")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		_, r, err := TrainBPE(context.Background(), docsOf(text), TrainOptions{VocabSize: 4096})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(r.Unique), "unique")
	}
}

func BenchmarkLongPiece(b *testing.B) {
	tok := trained(b)
	text := bytes.Repeat([]byte("a"), 1e6)
	b.SetBytes(int64(len(text)))
	var dst []int32
	for b.Loop() {
		dst, _ = tok.Append(dst[:0], text)
	}
}
