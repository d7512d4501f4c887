package bench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// TokenizerOptions say what text is used and how many tokens are trained.
type TokenizerOptions struct {
	Paths   []string // files and folders; empty: the source tree of the installed Go
	Vocab   int
	Seconds float64 // for each figure of encoding
	Workers int     // 0: one for each processor
}

// TokenizerResult is what training and encoding took. MB are 10⁶ bytes.
type TokenizerResult struct {
	Machine
	Bytes           int64   `json:"bytes"` // of text
	Vocab           int     `json:"vocab"` // reached
	BytesPerToken   float64 `json:"bytes_per_token"`
	TrainSeconds    float64 `json:"train_seconds"`
	TrainSecondsOne float64 `json:"train_seconds_one_worker"`
	EncodeMBs       float64 `json:"encode_mb_per_second"`
	EncodeMBsOne    float64 `json:"encode_mb_per_second_one_worker"`
	DecodeMBsOne    float64 `json:"decode_mb_per_second_one_worker"`
}

// ErrText is matched by errors of the text to measure with.
var ErrText = errors.New("bench: text")

// tokenizerText is the most text that is read; it is held in memory, so that no disk is measured.
const tokenizerText = 256 << 20

// Tokenizer times the training of a byte-pair encoding and encoding with it, with one worker and with all.
func Tokenizer(ctx context.Context, opt TokenizerOptions) (*TokenizerResult, error) {
	r := &TokenizerResult{Machine: machine(nil)}
	r.Workers = workersOf(opt.Workers)
	pieces, err := readText(ctx, opt.Paths)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrText, err)
	}
	for _, p := range pieces {
		r.Bytes += int64(len(p))
	}
	docs := iter.Seq2[[]byte, error](func(yield func([]byte, error) bool) {
		for _, p := range pieces {
			if !yield(p, nil) {
				return
			}
		}
	})
	var tok *tokenizer.Tokenizer
	train := func(workers int) (seconds float64, err error) {
		began := time.Now()
		t, report, err := tokenizer.TrainBPE(ctx, docs,
			tokenizer.TrainOptions{VocabSize: opt.Vocab, Workers: workers, TotalBytes: r.Bytes})
		if err != nil {
			return 0, err
		}
		tok, r.Vocab = t, report.VocabSize
		return time.Since(began).Seconds(), nil
	}
	if r.TrainSeconds, err = train(r.Workers); err != nil {
		return nil, err
	}
	if r.TrainSecondsOne, err = train(1); err != nil {
		return nil, err
	}
	rate := func(workers int) (mbs float64, tokens int64, err error) {
		var failed error
		median, _, err := repeat(ctx, opt.Seconds, func() {
			if tokens, err = encode(tok, pieces, workers); err != nil {
				failed = err
			}
		})
		return float64(r.Bytes) / 1e6 / median, tokens, errors.Join(err, failed)
	}
	var tokens int64
	if r.EncodeMBs, tokens, err = rate(r.Workers); err != nil {
		return nil, err
	}
	r.BytesPerToken = float64(r.Bytes) / float64(tokens)
	if r.EncodeMBsOne, _, err = rate(1); err != nil {
		return nil, err
	}
	return r, r.decode(ctx, tok, pieces, opt.Seconds)
}

// decode times decoding with one worker.
func (r *TokenizerResult) decode(ctx context.Context, tok *tokenizer.Tokenizer, pieces [][]byte, seconds float64,
) error {
	ids := make([][]int32, len(pieces))
	for i, p := range pieces {
		var err error
		if ids[i], err = tok.Append(nil, p); err != nil {
			return err
		}
	}
	var text []byte
	median, _, err := repeat(ctx, seconds, func() {
		for i := range ids {
			text = tok.Decode(text[:0], ids[i])
		}
	})
	if last := pieces[len(pieces)-1]; err == nil && string(text) != string(last) {
		return fmt.Errorf("bench: a text of %d bytes came back as %d others", len(last), len(text))
	}
	r.DecodeMBsOne = float64(r.Bytes) / 1e6 / median
	return err
}

// readText reads documents into memory, in pieces of at most 1 MiB.
func readText(ctx context.Context, paths []string) ([][]byte, error) {
	var c *corpus.Corpus
	var err error
	if len(paths) > 0 {
		c, err = corpus.Discover(paths, corpus.Options{})
	} else {
		c, err = corpus.GoCorpus("", corpus.Options{})
	}
	if err != nil {
		return nil, err
	}
	var pieces [][]byte
	total := 0
	for p, err := range c.Texts(ctx) {
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, append([]byte(nil), p...))
		if total += len(p); total >= tokenizerText {
			break
		}
	}
	if total == 0 {
		return nil, tokenizer.ErrNoText
	}
	return pieces, nil
}

// encode encodes every piece, each by the next worker that is free, and counts the tokens.
func encode(tok *tokenizer.Tokenizer, pieces [][]byte, workers int) (int64, error) {
	var next, tokens atomic.Int64
	errs := make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			e := tok.NewEncoder()
			var ids []int32
			for {
				i := next.Add(1) - 1
				if i >= int64(len(pieces)) {
					return
				}
				var err error
				if ids, err = e.Write(ids[:0], pieces[i]); err == nil {
					ids, err = e.Flush(ids)
				}
				if err != nil {
					errs[w] = err
					return
				}
				tokens.Add(int64(len(ids)))
			}
		})
	}
	all.Wait()
	return tokens.Load(), errors.Join(errs...)
}
