package train

import (
	"context"

	"gimbal/internal/config"
	text "gimbal/internal/corpus"
	"gimbal/internal/data"
	"gimbal/internal/tokenizer"
)

// Text is what a run would read, before anything is trained on it.
type Text struct {
	Config *config.Config // with what was decided
	Tok    *tokenizer.Tokenizer
	Set    *data.Set
	Train  *data.Split
}

// OpenText prepares the text of a run that the configuration describes, as Run does; of the options it uses From, Workers
// and Hooks. Any amount of text will do. The caller closes the set.
func OpenText(ctx context.Context, cfg *config.Config, opt Options) (*Text, error) {
	cfg = cfg.Clone()
	docs, tok, base, err := findText(ctx, cfg, opt)
	if err != nil {
		return nil, err
	}
	if base != nil {
		defer base.Close()
	}
	t := &Text{Config: cfg, Tok: tok}
	any := cfg.Clone()
	any.Train.BatchTokens = 1
	c, err := prepare(ctx, any, docs, t.Tok, opt.Workers)
	if err != nil {
		return nil, err
	}
	t.Set, t.Train = c.set, c.train
	return t, nil
}

// findText finds the documents that a configuration names, and the tokenizer that reads them: that of the base, whose
// shape the configuration takes over, or one that is read or made. The base is nil where Options.From names none; the
// caller closes it.
func findText(ctx context.Context, cfg *config.Config, opt Options) (docs *text.Corpus, tok *tokenizer.Tokenizer, b *base, err error) {
	if err := absolutePaths(cfg); err != nil {
		return docs, nil, nil, err
	}
	if docs, err = discover(cfg); err != nil {
		return docs, nil, nil, err
	}
	opt.Hooks.note("found %s of text in %d files%s", bytesText(docs.Bytes()), len(docs.Sources), where(cfg))
	if b, err = openBase(opt.From); err != nil {
		return docs, nil, nil, err
	}
	if b != nil {
		if err := adopt(cfg, b.arch, b.Path()); err != nil {
			b.Close()
			return docs, nil, nil, err
		}
		return docs, b.tok, b, nil
	}
	if err := choosePreset(cfg, docs.Bytes()); err != nil {
		return docs, nil, nil, err
	}
	tok, err = makeTokenizer(ctx, cfg, docs, opt.Workers, opt.Hooks.note)
	return docs, tok, nil, err
}
