package data

import (
	"gimbal/internal/corpus"
	"testing"

	"gimbal/internal/tokenizer"
)

// BenchmarkPrepare tokenises the default corpus (16 MB of Go) with a trained vocabulary into a new cache.
func BenchmarkPrepare(b *testing.B) {
	c, err := corpus.GoCorpus("", corpus.Options{})
	if err != nil {
		b.Fatal(err)
	}
	tok, _, err := tokenizer.TrainBPE(b.Context(), c.Texts(b.Context()), tokenizer.TrainOptions{VocabSize: 4096})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(c.Bytes())
	for b.Loop() {
		s, err := Prepare(b.Context(), c, tok, PrepareOptions{CacheDir: b.TempDir(), ValFraction: 0.05})
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReuse opens the cache that BenchmarkPrepare makes: two passes of hashing.
func BenchmarkReuse(b *testing.B) {
	c, err := corpus.GoCorpus("", corpus.Options{})
	if err != nil {
		b.Fatal(err)
	}
	opt := PrepareOptions{CacheDir: b.TempDir(), ValFraction: 0.05}
	b.SetBytes(c.Bytes())
	for b.Loop() {
		s, err := Prepare(b.Context(), c, tokenizer.NewBytes(), opt)
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNext fills batches of 8,192 inputs in permuted order.
func BenchmarkNext(b *testing.B) {
	c, err := corpus.GoCorpus("", corpus.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := Prepare(b.Context(), c, tokenizer.NewBytes(), PrepareOptions{CacheDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	l, err := NewLoader(s.Train(256), 1, 8192)
	if err != nil {
		b.Fatal(err)
	}
	var batch Batch
	var cur Cursor
	b.ReportAllocs()
	for b.Loop() {
		cur = l.Next(&batch, cur)
	}
}
