package plan

import (
	"fmt"

	"gimbal/internal/config"
	"gimbal/internal/tokenizer"
)

const (
	tokensPerWeight  = 10 // training tokens for each weight that an automatic preset asks for
	defaultPresetFor = "nano"
	microNarrow      = 2048 // tokens of one pass of a narrow model: rows enough for the multiplies, all in cache
	microWide        = 4096 // and of a wide one
	wide             = 384  // channels from which a model is wide
)

// choosePreset gives the model a size where nothing else did: the largest preset that the planned tokens can feed.
// Where the steps are planned by time it is nano, until the machine's pace is known.
func choosePreset(cfg *config.Config, corpusBytes int64) error {
	if cfg.Model.Preset != "" || cfg.Model.Layers != 0 && cfg.Model.Width != 0 {
		return nil
	}
	name := defaultPresetFor
	if cfg.Train.Steps > 0 {
		budget := cfg.Train.Steps * int64(cfg.Train.BatchTokens)
		budget = min(budget, plannedEpochs*corpusBytes/3) // a token spells about three bytes
		for _, size := range sizes {
			if tokensPerWeight*size.weights <= budget {
				name = size.name
			}
		}
	}
	return cfg.UsePreset(name, plannedPreset)
}

// plannedPreset is the origin of a size that nobody chose.
const plannedPreset = "planned: by corpus and budget"

// sizes are the presets that are chosen where there are tokens enough for their weights, embeddings not counted.
var sizes = []struct {
	name    string
	weights int64
}{{"micro", 5e6}, {"mini", 10e6}, {"small", 30e6}}

// adopt writes the shape of weights into the configuration of a run that uses them, so that the run says what it
// trains. It refuses a setting that asks for another shape. origin says where the weights are from.
func adopt(cfg *config.Config, a config.Arch, origin string) error {
	for _, k := range []struct {
		key   string
		value any
	}{
		{"model.shape", a.Shape}, {"model.layers", a.Layers}, {"model.width", a.Width}, {"model.heads", a.Heads},
		{"model.kv_heads", a.KVHeads}, {"model.head_size", a.HeadSize}, {"model.mlp", a.MLP}, {"model.tie", a.Tie},
	} {
		given, _ := cfg.Value(k.key)
		if given == fmt.Sprint(k.value) {
			continue
		}
		if where := cfg.Origin(k.key); where != "default" && !cfg.Auto(k.key) {
			return fault(where, k.key, "%s is not the %v of %s; leave it out", given, k.value, origin)
		}
		if err := cfg.SetPlanned(k.key, k.value, "from "+origin); err != nil {
			return err
		}
	}
	return cfg.Check()
}

// ownTokenizer notes the tokenizer of a run that takes that of a model or of a file, and refuses settings of another
// one.
func ownTokenizer(cfg *config.Config, tok *tokenizer.Tokenizer, origin string) error {
	for _, k := range []struct {
		key string
		has any
	}{
		{"tokenizer.kind", tok.Kind()}, {"tokenizer.vocab_size", tok.VocabSize()},
	} {
		given, _ := cfg.Value(k.key)
		if given == fmt.Sprint(k.has) {
			continue
		}
		if where := cfg.Origin(k.key); where != "default" && !cfg.Auto(k.key) {
			return fault(where, k.key, "%s is not the %v of %s; leave it out", given, k.has, origin)
		}
		if err := cfg.SetPlanned(k.key, k.has, "from "+origin); err != nil {
			return err
		}
	}
	path := cfg.Tokenizer.Path
	if path == "" || path == origin || isTokenizer(path, tok) { // a run that began with this file
		return nil
	}
	return fault(cfg.Origin("tokenizer.path"), "tokenizer.path",
		"%s is not read: the weights of %s need their own tokenizer; leave it out", path, origin)
}

// isTokenizer reports whether a file is a tokenizer, but for what it puts first.
func isTokenizer(path string, tok *tokenizer.Tokenizer) bool {
	own, err := readTokenizer(path)
	if err != nil || own.Hash() == tok.Hash() {
		return err == nil
	}
	own, err = own.Bare()
	return err == nil && own.Hash() == tok.Hash()
}

// adoptStart makes the documents of a new run begin as its tokenizer says, unless data.start was given. It returns
// what is to be told.
func adoptStart(cfg *config.Config, tok *tokenizer.Tokenizer, origin string) (note string, err error) {
	name := func(kind string) string {
		if id, ok, err := tok.Start(kind); err == nil && ok {
			return fmt.Sprintf("%q", tok.Name(id))
		}
		return "no token"
	}
	own, given := tok.DataStart(), cfg.Data.Start
	if cfg.Origin("data.start") == "default" {
		if given != own {
			err = cfg.SetPlanned("data.start", own, "from "+origin)
		}
		const text = "documents begin with %s and end with %q, as %s says"
		return fmt.Sprintf(text, name(own), tok.Name(tok.EOS()), origin), err
	}
	if name(given) != name(own) {
		note = fmt.Sprintf("warning: documents begin with %s (data.start is %s, %s), but %s begins them with %s; leave "+
			"data.start out to begin as it does", name(given), given, cfg.Origin("data.start"), origin, name(own))
	}
	return note, nil
}

// architecture is the decoder of a run: that of the weights it starts from, or else the one that the configuration
// describes. Sequences have the run's context; positions that are computed end there while it trains, positions that
// were learned are all kept. What is saved says the positions that the weights came with.
func (d *Draft) architecture() (config.Arch, error) {
	cfg := d.Config
	if d.arch == nil {
		return cfg.Arch(d.Text.Tok.VocabSize())
	}
	a := *d.arch
	a.Dropout = cfg.Model.Dropout
	switch {
	case a.RopeScale.Kind == "longrope" && cfg.Train.Context > a.RopeScale.Original:
		return a, fault(cfg.Origin("train.context"), "train.context",
			"%d is more than the %d positions within which RoPE of these weights is the same for all texts",
			cfg.Train.Context, a.RopeScale.Original)
	case a.Position == "rope":
		a.Context, a.Positions = cfg.Train.Context, max(a.Context, a.Positions)
	case a.Context < cfg.Train.Context:
		return a, fault(cfg.Origin("train.context"), "train.context",
			"%d is more than the %d positions that the weights have learned", cfg.Train.Context, a.Context)
	}
	return a, nil
}

// recordRules writes into the configuration what the rules made of the values that were left automatic.
func recordRules(cfg *config.Config, a config.Arch) error {
	for _, k := range []struct {
		key   string
		value any
		rule  string
	}{
		{"model.heads", a.Heads, "from model.width"}, {"model.kv_heads", a.KVHeads, "from model.heads"},
		{"model.head_size", a.HeadSize, "from width and heads"}, {"model.mlp", a.MLP, "from model.width"},
		{"optim.beta2", cfg.Optim.Beta2At(cfg.Train.BatchTokens), "from train.batch_tokens"},
	} {
		if cfg.Auto(k.key) {
			if err := cfg.SetPlanned(k.key, k.value, "rule: "+k.rule); err != nil {
				return err
			}
		}
	}
	return nil
}

// AutoMicro is the tokens of one pass where nothing else was asked for.
func AutoMicro(a config.Arch) int {
	if a.Width < wide {
		return microNarrow
	}
	return microWide
}

// fault is an error of one key of the configuration.
func fault(where, key, format string, args ...any) error {
	return &config.Error{Faults: []config.Fault{{Where: where, Key: key, Text: fmt.Sprintf(format, args...)}}}
}
