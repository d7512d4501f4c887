package plan

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gimbal/internal/chat"
	"gimbal/internal/config"
	"gimbal/internal/corpus"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/tokenizer"
)

// makeTokenizer reads or makes the tokenizer that the configuration asks for, and records the size of a vocabulary
// that was left automatic. The whole corpus is its text: the alphabet must hold the validation part too.
func makeTokenizer(ctx context.Context, cfg *config.Config, docs *corpus.Corpus,
	opt TextOptions) (*tokenizer.Tokenizer, error) {
	if path := cfg.Tokenizer.Path; path != "" {
		return readTokenizer(path)
	}
	var roles []string // tokens that mark the turns of conversations
	if docs.HasChat() {
		roles = chat.RoleTokens
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
	return trainBPE(ctx, cfg, docs, roles, opt)
}

func readTokenizer(path string) (*tokenizer.Tokenizer, error) {
	raw, err := durable.ReadFile(durable.OS, path, tokenizer.MaxFile)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.path: %w", err)
	}
	tok, err := tokenizer.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.path %s: %w", path, err)
	}
	return tok, nil
}

func trainBPE(ctx context.Context, cfg *config.Config, docs *corpus.Corpus, roles []string,
	opt TextOptions) (*tokenizer.Tokenizer, error) {
	asked := cfg.Tokenizer.VocabSize
	if asked == 0 {
		asked = autoVocab(docs.Bytes())
	}
	tok, report, err := tokenizer.TrainBPE(ctx, docs.Texts(ctx), tokenizer.TrainOptions{
		VocabSize: asked - len(roles), Workers: opt.Workers, TotalBytes: docs.Bytes()})
	if errors.Is(err, tokenizer.ErrNoText) {
		return nil, &corpus.Error{What: fmt.Sprintf("no text in %s: all documents are empty",
			corpus.CountKind(int64(len(docs.Sources)), "file")),
			Advice: "pass --data with a file or folder of text"}
	}
	if err != nil {
		return nil, err
	}
	tok = tok.WithSpecial(roles...)
	if tok.VocabSize() < asked {
		if cfg.Tokenizer.VocabSize != 0 {
			return nil, fmt.Errorf("%w: tokenizer.vocab_size %d (%s): the corpus supports only %d ids, because no other "+
				"pair of tokens occurs twice; lower it or add text", data.ErrUnusable,
				asked, cfg.Origin("tokenizer.vocab_size"), tok.VocabSize())
		}
		opt.Note("the corpus supports only %d token ids", tok.VocabSize())
	}
	opt.Note("made a vocabulary of %d tokens from %s", tok.VocabSize(), BytesText(report.Bytes))
	if cfg.Tokenizer.VocabSize == 0 {
		origin := fmt.Sprintf("planned: for %s of text", BytesText(docs.Bytes()))
		if err := cfg.SetPlanned("tokenizer.vocab_size", tok.VocabSize(), origin); err != nil {
			return nil, err
		}
	}
	return tok, nil
}

// autoVocab is the size of the vocabulary for a corpus: 1,024 ids at 1 MB, growing with the square root of its
// size, a power of two from 512 to 32,768. Larger ones would leave most tokens too rare to be learned. A text of less
// than 16 kB gets so many ids beside its bytes.
func autoVocab(bytes int64) int {
	ids := 1024 * math.Sqrt(float64(bytes)/1e6)
	if bytes < 16_000 {
		return 257 + int(ids)
	}
	size := 512
	for size < 32768 && float64(size)*math.Sqrt2 < ids {
		size *= 2
	}
	return size
}
