package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/param"
	"gimbal/internal/rundir"
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

// Model is a checkpoint that is used for its weights and its tokenizer. Closing it closes the checkpoint.
type Model struct {
	*checkpoint.Checkpoint
	Tok   *tokenizer.Tokenizer
	Arch  config.Arch
	Notes []string // what its files say and is not done, or not as they say, a sentence each

	base    *Model        // beside which the checkpoint is an adapter; nil: it is a model
	adapter param.Adapter // of the checkpoint
}

// OpenModel opens a checkpoint, or the named one of a run, as a model; see rundir.OpenCheckpoint.
func OpenModel(path, name string) (*Model, error) {
	c, err := rundir.OpenCheckpoint(path, name)
	if err != nil {
		return nil, err
	}
	m, err := ModelOf(c)
	if err != nil {
		return nil, err
	}
	if damage := rundir.Damage(path, c); damage != nil {
		m.Notes = append(m.Notes, "warning: the checkpoint is whole, but the run is damaged: "+damage.Error())
	}
	return m, nil
}

// ModelOf reads the tokenizer and the architecture of a checkpoint, and checks that the weights fit. If it fails it
// closes the checkpoint.
func ModelOf(c *checkpoint.Checkpoint) (*Model, error) { return modelOf(c, 0) }

func modelOf(c *checkpoint.Checkpoint, nested int) (*Model, error) {
	m, err := share(c, nested)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", rundir.ErrCheckpoint, err), c.Close())
	}
	return m, nil
}

// Start returns the token after which the texts of the model begin.
func (m *Model) Start() int32 {
	if id, ok, err := m.Tok.Start(m.Tok.DataStart()); ok && err == nil {
		return id
	}
	return m.Tok.EOS()
}

// source is a checkpoint or a model directory of others. An error of File that matches fs.ErrNotExist means that there
// is no such file.
type source interface {
	Path() string
	File(name string) ([]byte, error)
}

// readConfig reads config.json: the architecture, and the tokens that it names.
func readConfig(f source) (arch config.Arch, t tokens, err error) {
	raw, err := f.File(configFile)
	if err == nil {
		arch, t.ends, t.bos, err = family.Parse(raw)
	}
	if err != nil {
		err = &Error{f.Path(), configFile, err}
	}
	return arch, t, err
}

// describe reads the tokenizer and the architecture of a model, checks that they fit, and returns what is to be told.
// The model may have more ids than the tokenizer; those have no text.
func describe(f source) (tok *tokenizer.Tokenizer, arch config.Arch, notes []string, err error) {
	arch, conf, err := readConfig(f)
	if err != nil {
		return nil, arch, nil, err
	}
	roles := tokenizer.Roles{EOS: -1, BOS: conf.bos, Size: arch.Vocab}
	if len(conf.ends) > 0 {
		roles.EOS = conf.ends[0]
	}
	if roles.BOS == roles.EOS { // a text begins with the end of the one before: it has no token of its own
		roles.BOS = -1
	}
	raw, err := f.File(tokenizerFile)
	if err != nil {
		return nil, arch, nil, &Error{f.Path(), tokenizerFile, noTokenizer(f, err)}
	}
	tok, err = tokenizer.ParseAs(raw, roles)
	var role *tokenizer.RoleError
	switch {
	case errors.As(err, &role):
		key := map[string]string{"EOS": "eos_token_id", "BOS": "bos_token_id", "Size": "vocab_size"}[role.Role]
		return nil, arch, nil, &Error{f.Path(), configFile, fmt.Errorf("%s: %w", key, err)}
	case err != nil:
		return nil, arch, nil, &Error{f.Path(), tokenizerFile, err}
	}
	notes, err = mark(f, tok, conf)
	return tok, arch, notes, err
}

// noTokenizer says why there is no tokenizer.json, and what to do.
func noTokenizer(f source, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	const advice = "save the tokenizer in its fast form (transformers: AutoTokenizer.from_pretrained(\"DIR\")." +
		"save_pretrained(\"DIR\"))"
	for _, old := range []string{"vocab.json", "merges.txt", "tokenizer.model"} {
		if _, there := f.File(old); there == nil {
			return fmt.Errorf("%w, and %s of its older form is not read: %s", err, old, advice)
		}
	}
	return fmt.Errorf("%w: %s", err, advice)
}

// readParams reads the parameters of an architecture, until ctx is done. It checks names and shapes before it allocates
// memory, and refuses weights that are not finite. Errors name dir and file.
func readParams(ctx context.Context, a config.Arch, f *safetensors.File, dir, file string) (
	p *param.Params[float32], err error) {
	if err = param.CheckEntries(a, f); err == nil {
		p = param.New[float32](a)
		err = param.LoadEntries(p, f.Until(ctx))
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &Error{dir, file, err}
	}
	if name, i, v, found := p.FirstNonFinite(p.Flat); found {
		return nil, &Error{dir, file, nonFinite(name, i, v)}
	}
	return p, nil
}

// nonFinite is the error of a weight.
func nonFinite(name string, i int, value float64) error {
	return fmt.Errorf("weight %s[%d] is %v: a model with such a weight computes nothing", name, i, value)
}

// share is ModelOf for a checkpoint that its caller closes: of the model, only the base is to be closed.
func share(c *checkpoint.Checkpoint, nested int) (*Model, error) {
	if c.Adapter() {
		return openAdapter(c, nested)
	}
	tok, arch, notes, err := describe(c)
	if err == nil {
		err = param.CheckEntries(arch, c.Model())
	}
	return &Model{Checkpoint: c, Tok: tok, Arch: arch, Notes: notes}, err
}
