package plan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"gimbal/internal/chat"
	"gimbal/internal/config"
	"gimbal/internal/corpus"
	"gimbal/internal/data"
	"gimbal/internal/hub"
	"gimbal/internal/tokenizer"
)

// Draft is a plan in the making: the text is there, and the keys that follow from it are decided.
type Draft struct {
	Config   *config.Config // a copy of the request
	Text     *data.Text
	Notes    []string     // what is to be told of the model that it begins from
	arch     *config.Arch // of weights that are loaded; nil: fresh ones
	base16   bool         // they are in bfloat16
	warnings []string     // of what was decided with the text, for the plan
}

// Close gives the text back.
func (d *Draft) Close() error { return d.Text.Set.Close() }

// TextOptions say how a text is opened, beside its configuration.
type TextOptions struct {
	Model   *hub.Model // whose tokenizer reads the text and whose shape is trained; nil: a new one
	Hash    string     // of the text that must be found; empty: any text will do
	Out     string     // directory that the run writes, which is no text; empty: not known
	Tune    bool       // the weights of Model are to be trained on
	Little  bool       // even less text than one batch will do: nothing is trained on it
	Workers int
	Spare   string                           // where the tokens go if there is no other place; empty: there is none
	Note    func(format string, args ...any) // told what is found; nil: nobody
}

// ErrChanged says that the text of a run is not there any more, or not what it was.
var ErrChanged = errors.New("the text of the run has changed or is gone")

// OpenText finds the documents that a configuration names, reads or makes the tokenizer, and turns the documents into
// token shards. The caller closes the draft.
//
// Its errors match data.ErrUnusable or ErrChanged, or are a *config.Error, a *corpus.Error or one of the tokenizer.
func OpenText(ctx context.Context, request *config.Config, opt TextOptions) (*Draft, error) {
	d := &Draft{Config: request.Clone()}
	cfg := d.Config
	if opt.Note == nil {
		opt.Note = func(string, ...any) {}
	}
	if cfg.Train.Objective == "dpo" && opt.Model == nil && !opt.Little {
		return nil, fault(cfg.Origin("train.objective"), "train.objective", "preferences are learned by a model that "+
			"answers already, beside a frozen copy of it: name it with --from")
	}
	if err := absolutePaths(cfg); err != nil {
		return nil, err
	}
	if m := opt.Model; m != nil {
		d.arch, d.base16 = &m.Arch, m.BF16()
		if err := adopt(cfg, m.Arch, m.Path()); err != nil {
			return nil, err
		}
	}
	own, broken := ownTemplate(cfg, opt.Model)
	docs, err := discover(cfg, own, opt.Out)
	if err == nil {
		docs, err = docs.Identify(ctx, opt.Workers)
	}
	if err != nil {
		return nil, changed(opt, err)
	}
	if err := d.takeTemplate(own, broken, docs); err != nil {
		return nil, err
	}
	opt.Note("found %s%s", SizeOf(docs, "text"), where(cfg))
	var tok *tokenizer.Tokenizer
	if opt.Model != nil {
		tok = opt.Model.Tok
	} else {
		if err := choosePreset(cfg, docs.Bytes()); err != nil {
			return nil, err
		}
		if tok, err = makeTokenizer(ctx, cfg, docs, opt); err != nil {
			return nil, err
		}
	}
	if tok, err = d.takeMarks(tok, opt); err != nil {
		return nil, err
	}
	if err = d.prepare(ctx, docs, tok, own, opt); err != nil {
		return nil, changed(opt, err)
	}
	if got := d.Text.Set.Hash; opt.Hash != "" && got != opt.Hash {
		d.Close()
		return nil, fmt.Errorf("%w: %w (hash %.12s, was %.12s)", data.ErrUnusable, ErrChanged, got, opt.Hash)
	}
	debug.FreeOSMemory() // the tables of the tokenizer, before the model takes their place
	return d, nil
}

// takeMarks makes the texts of a new run begin as those of the model or tokenizer file that it begins from, and notes
// what is to be told. If documents begin otherwise than tokenizer.json says, it returns a tokenizer that says nothing
// of it, so that what is saved agrees with itself. A run that goes on stays as it was.
func (d *Draft) takeMarks(tok *tokenizer.Tokenizer, opt TextOptions) (*tokenizer.Tokenizer, error) {
	origin := d.Config.Tokenizer.Path
	switch {
	case opt.Hash != "" || opt.Model == nil && origin == "":
		return tok, nil
	case opt.Model == nil:
		d.Notes = slices.Clone(tok.Notes())
	default:
		origin, d.Notes = opt.Model.Path(), slices.Clone(opt.Model.Notes)
	}
	if err := ownTokenizer(d.Config, tok, origin); err != nil {
		return nil, err
	}
	note, err := adoptStart(d.Config, tok, origin)
	if err != nil {
		return nil, err
	}
	if note != "" {
		d.Notes = append(d.Notes, note)
	}
	first, puts := tok.First()
	if id, ok, err := tok.Start(d.Config.Data.Start); puts && err == nil && (!ok || id != first) {
		return tok.Bare()
	}
	return tok, nil
}

// changed marks an error of a text that was there before.
func changed(opt TextOptions, err error) error {
	if opt.Hash == "" {
		return err
	}
	return fmt.Errorf("%w: %w", ErrChanged, err)
}

// absolutePaths makes the paths of the data independent of the folder from which the run will be resumed.
func absolutePaths(cfg *config.Config) error {
	for key, given := range map[string][]string{"data.paths": cfg.Data.Paths, "eval.keep": cfg.Eval.Keep} {
		if len(given) == 0 {
			continue
		}
		paths := make([]string, len(given))
		for i, p := range given {
			var err error
			if paths[i], err = filepath.Abs(p); err != nil {
				return fmt.Errorf("%w: %w", data.ErrUnusable, err)
			}
		}
		if err := cfg.SetPlanned(key, paths, cfg.Origin(key)); err != nil {
			return err
		}
	}
	return nil
}

// discover finds the documents that the configuration names. What this process writes is not among them: its run, and
// the files that take what it prints.
func discover(cfg *config.Config, own *chat.Template, out string) (*corpus.Corpus, error) {
	opt := reading(cfg, own)
	opt.Weights, opt.Splits = cfg.Data.Weights, cfg.Data.Splits == "names"
	if len(cfg.Data.Paths) == 0 {
		return corpus.GoCorpus("", opt)
	}
	if info, err := os.Stat(out); err == nil {
		opt.Outputs = append(opt.Outputs, info)
	}
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			opt.Outputs = append(opt.Outputs, info)
		}
	}
	return corpus.Discover(cfg.Data.Paths, opt)
}

// reading is how files become documents.
func reading(cfg *config.Config, own *chat.Template) corpus.Options {
	d := cfg.Data
	opt := corpus.Options{Pairs: cfg.Train.Objective == "dpo", Fields: d.Fields, Separator: d.Separator,
		BadDocuments: d.BadDocuments, BadShare: d.BadShare,
		Encoding: d.Encoding}
	if own != nil {
		opt.Shows = own.Shows
	}
	return opt
}

// where says which corpus stands in where none was named.
func where(cfg *config.Config) string {
	if len(cfg.Data.Paths) == 0 {
		return ": no --data was given, so this is the source tree of the installed Go"
	}
	return ""
}

// prepare turns the documents into token shards and cuts them into what trains and what validates.
func (d *Draft) prepare(ctx context.Context, docs *corpus.Corpus, tok *tokenizer.Tokenizer, own *chat.Template,
	opt TextOptions) error {
	cfg := d.Config
	set, err := data.Prepare(ctx, docs, tok, data.PrepareOptions{
		ValFraction: cfg.Data.ValFraction, ValFrom: cfg.Data.ValFrom, Start: cfg.Data.Start, Workers: opt.Workers,
		Out: opt.Spare, Format: format(own)})
	if err != nil {
		return err
	}
	t := &data.Text{Docs: docs, Tok: tok, Set: set}
	have := set.Train(math.MaxInt32).Tokens()
	if opt.Tune {
		lengths := set.Census().Lengths
		err = d.tune(have, lengths[len(lengths)-1])
	}
	if err == nil {
		err = d.fit(have)
	}
	if err == nil {
		context := cfg.Train.Context
		t.Train, t.Val = set.Train(context), set.Val(context)
		err = enough(cfg, t, opt.Little)
	}
	if err != nil {
		return errors.Join(err, set.Close())
	}
	d.Text = t
	d.warnings = append(d.warnings, unused(cfg, set, d.arch == nil)...)
	return nil
}

// OpenOther prepares files and folders that no run was trained on, all of them to be measured by a model. The caller
// closes the set.
func OpenOther(ctx context.Context, cfg *config.Config, paths []string, m *hub.Model,
	workers int) (*data.Text, error) {
	own, broken := ownTemplate(cfg, m)
	as := reading(cfg, own)
	if as.Pairs { // what preferences are compared with is texts and conversations
		as.Pairs, as.Fields = false, nil
	}
	docs, err := corpus.Discover(paths, as)
	if err == nil {
		docs, err = docs.Identify(ctx, workers)
	}
	if err != nil {
		return nil, err
	}
	if broken != nil && docs.HasChat() {
		return nil, broken
	}
	set, err := data.Prepare(ctx, docs, m.Tok, data.PrepareOptions{Start: cfg.Data.Start, Workers: workers,
		Format: format(own)})
	if err != nil {
		return nil, err
	}
	return &data.Text{Docs: docs, Tok: m.Tok, Set: set, Val: set.All(cfg.Train.Context)}, nil
}

// SizeOf writes how large a corpus is: "1.2 MB of text in 2 files".
func SizeOf(docs *corpus.Corpus, what string) string {
	return BytesText(docs.Bytes()) + " of " + what + " in " + corpus.CountKind(int64(len(docs.Sources)), "file")
}

// BytesText writes a number of bytes for a person.
func BytesText(n int64) string {
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
