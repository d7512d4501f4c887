package train

import (
	"context"

	"gimbal/internal/config"
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
	if err := absolutePaths(cfg); err != nil {
		return nil, err
	}
	docs, err := discover(cfg)
	if err != nil {
		return nil, err
	}
	opt.Hooks.note("found %s of text in %d files%s", bytesText(docs.Bytes()), len(docs.Sources), where(cfg))
	base, err := openBase(opt.From)
	if err != nil {
		return nil, err
	}
	t := &Text{Config: cfg}
	if base != nil {
		defer base.Close()
		t.Tok = base.tok
		err = adopt(cfg, base.arch, base.Path())
	} else if err = choosePreset(cfg, docs.Bytes()); err == nil {
		t.Tok, err = makeTokenizer(ctx, cfg, docs, opt.Workers, opt.Hooks.note)
	}
	if err != nil {
		return nil, err
	}
	any := cfg.Clone()
	any.Train.BatchTokens = 1
	c, err := prepare(ctx, any, docs, t.Tok, opt.Workers)
	if err != nil {
		return nil, err
	}
	t.Set, t.Train = c.set, c.train
	return t, nil
}
