package train

import (
	"context"
	"fmt"
	"math"

	"gimbal/internal/config"
	text "gimbal/internal/corpus"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/tokenizer"
)

// discover finds the documents that the configuration names.
func discover(cfg *config.Config) (*text.Corpus, error) {
	opt := text.Options{Separator: cfg.Data.Separator, BadDocuments: cfg.Data.BadDocuments, BadShare: cfg.Data.BadShare, Weights: cfg.Data.Weights}
	if len(cfg.Data.Paths) == 0 {
		return text.GoCorpus("", opt)
	}
	return text.Discover(cfg.Data.Paths, opt)
}

// makeTokenizer reads or makes the tokenizer that the configuration asks for, and records the size of a vocabulary
// that was left automatic. The whole corpus is its text: the alphabet must hold the validation part too.
func makeTokenizer(ctx context.Context, cfg *config.Config, docs *text.Corpus, workers int, note func(string, ...any)) (*tokenizer.Tokenizer, error) {
	if path := cfg.Tokenizer.Path; path != "" {
		raw, err := durable.ReadFile(durable.OS, path, tokenizer.MaxFile)
		if err != nil {
			return nil, fmt.Errorf("train: tokenizer.path: %w", err)
		}
		tok, err := tokenizer.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("train: tokenizer.path %s: %w", path, err)
		}
		return tok, nil
	}
	var roles []string // tokens that mark the turns of conversations
	if docs.HasChat() {
		roles = data.RoleTokens
	}
	switch cfg.Tokenizer.Kind {
	case "bytes":
		return tokenizer.NewBytes().WithSpecial(roles...), nil
	case "chars":
		alphabet, err := tokenizer.CollectChars(docs.Texts(ctx))
		if err != nil {
			return nil, err
		}
		return tokenizer.NewChars(alphabet).WithSpecial(roles...), nil
	}
	asked, chosen := cfg.Tokenizer.VocabSize, cfg.Origin("tokenizer.vocab_size")
	if asked == 0 {
		asked = autoVocab(docs.Bytes())
	}
	tok, report, err := tokenizer.TrainBPE(ctx, docs.Texts(ctx), tokenizer.TrainOptions{VocabSize: asked - len(roles), Workers: workers, TotalBytes: docs.Bytes()})
	if err != nil {
		return nil, err
	}
	tok = tok.WithSpecial(roles...)
	if tok.VocabSize() < asked {
		if cfg.Tokenizer.VocabSize != 0 {
			return nil, fmt.Errorf("%w: tokenizer.vocab_size %d (%s): the corpus supports %d ids, no more pair of tokens occurs twice; lower it, or add text",
				ErrData, asked, chosen, tok.VocabSize())
		}
		note("the corpus supports %d token ids, no more", tok.VocabSize())
	}
	note("made a vocabulary of %d tokens from %s", tok.VocabSize(), bytesText(report.Bytes))
	if cfg.Tokenizer.VocabSize == 0 {
		origin := fmt.Sprintf("planned: for %s of text", bytesText(docs.Bytes()))
		if err := cfg.SetPlanned("tokenizer.vocab_size", tok.VocabSize(), origin); err != nil {
			return nil, err
		}
	}
	return tok, nil
}

// autoVocab is the size of the vocabulary for a corpus: 1,024 ids at 1 MB, growing with the square root of its
// size, a power of two from 512 to 32,768. Larger ones would leave most tokens too rare to be learned.
func autoVocab(bytes int64) int {
	ids := 1024 * math.Sqrt(float64(bytes)/1e6)
	size := 512
	for size < 32768 && float64(size)*math.Sqrt2 < ids {
		size *= 2
	}
	return size
}

// corpus is what a run reads: documents as tokens, cut into what trains and what validates.
type corpus struct {
	docs  *text.Corpus
	tok   *tokenizer.Tokenizer
	set   *data.Set
	train *data.Split
	val   *data.Split
}

// prepare turns the documents into token shards and cuts them. The caller closes the set.
func prepare(ctx context.Context, cfg *config.Config, docs *text.Corpus, tok *tokenizer.Tokenizer, workers int) (*corpus, error) {
	set, err := data.Prepare(ctx, docs, tok, data.PrepareOptions{
		ValFraction: cfg.Data.ValFraction,
		Start:       cfg.Data.Start,
		Workers:     workers,
	})
	if err != nil {
		return nil, err
	}
	c := &corpus{docs: docs, tok: tok, set: set, train: set.Train(cfg.Train.Context), val: set.Val(cfg.Train.Context)}
	if c.val.Counted() == 0 || c.train.Tokens() < int64(cfg.Train.BatchTokens) {
		err := fmt.Errorf("%w: %d tokens to train on and %d to validate, and one step takes %d (train.batch_tokens); add text or lower train.batch_tokens",
			ErrData, c.train.Tokens(), c.val.Tokens(), cfg.Train.BatchTokens)
		set.Close()
		return nil, err
	}
	return c, nil
}

func bytesText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}
