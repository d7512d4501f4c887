package tokenizer

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"gimbal/internal/bpe"
	"gimbal/internal/split"
)

// TrainOptions describes the tokenizer to train.
type TrainOptions struct {
	VocabSize int // tokens wanted: 256 bytes, the merges, and the end-of-text token
	Workers   int // goroutines that count pieces; 0 means GOMAXPROCS. The result does not depend on it

	// SampleBytes bounds the text that is counted; 0 means 128 MiB. If TotalBytes, the size of all documents, is
	// known and larger, parts of about 1 MiB are taken evenly over all of it. Otherwise the first SampleBytes are
	// counted, and the rest is not read.
	SampleBytes int64
	TotalBytes  int64
}

// TrainReport says what training found.
type TrainReport struct {
	Documents int64 // read
	Bytes     int64 // read
	Sampled   int64 // bytes of them that were counted
	Pieces    int64 // pieces counted
	Unique    int   // different pieces
	VocabSize int   // reached; less than wanted if no pair was left that occurs twice
	Merges    int
	LastCount int64 // how often the pair of the last merge occurred
}

// ErrNoText says that there was nothing to train on.
var ErrNoText = errors.New("tokenizer: the documents hold no text to train on")

const (
	minVocab      = 257       // bytes and end of text
	maxVocab      = 1 << 22   // far above any use; keeps ids and ranks small
	defaultSample = 128 << 20 // bytes
	partSize      = 1 << 20   // bytes of text handed to a worker at once
	trainPiece    = 4 << 10   // bytes of the longest piece that is counted
)

// TrainBPE trains byte-level byte-pair encoding on documents, with Qwen 2's split. It repeatedly makes a new token of
// the most frequent pair of neighbouring tokens within the pieces. Of equally frequent pairs it takes the one with
// the smallest ids, the first id before the second, as Hugging Face's tokenizers does. Training ends at the wanted
// size or when no pair occurs twice; the report says which.
//
// The ids are 0 to 255 for the bytes in the order of GPT-2's alphabet, then the merges by rank, then end of text.
// Merges that spell the same share an id.
//
// The result depends only on the documents, their order and the options other than Workers.
// Source: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1.
// Memory: about 350 bytes for each different piece of the sample, and 3 MiB for each worker; not more for a larger
// corpus or more workers. A document may be reused after its step of docs.
// Failure: the first error of docs, ctx.Err(), or ErrNoText.
func TrainBPE(ctx context.Context, docs iter.Seq2[[]byte, error], opt TrainOptions) (*Tokenizer, TrainReport, error) {
	if opt.VocabSize < minVocab || opt.VocabSize > maxVocab {
		return nil, TrainReport{}, fmt.Errorf("tokenizer: vocabulary size %d is not between %d "+
			"(bytes and end of text) and %d", opt.VocabSize, minVocab, maxVocab)
	}
	words, report, err := countPieces(ctx, docs, opt)
	if err != nil {
		return nil, report, err
	}
	if report.Sampled == 0 {
		return nil, report, ErrNoText
	}
	counts := make([]map[string]*int64, len(words))
	for i := range words {
		counts[i] = words[i].counts
	}
	l, err := bpe.Learn(ctx, counts, byteOrder, opt.VocabSize-1)
	if errors.Is(err, bpe.ErrTooMany) {
		return nil, report, fmt.Errorf("tokenizer: a sample of %d bytes has %w; lower the sample", report.Sampled, err)
	} else if err != nil {
		return nil, report, err
	}
	eos := added{id: int32(len(l.Vocab)), content: EndOfText, special: true}
	t := build(KindBPE, split.Qwen2, l.Vocab, l.Merges, []added{eos})
	report.VocabSize, report.Merges, report.LastCount = t.VocabSize(), len(l.Merges), l.LastCount
	return t, report, nil
}
