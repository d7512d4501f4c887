package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/model"
	"gimbal/internal/rundir"
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

// Model is a checkpoint that is used for its weights and its tokenizer. Closing it closes the checkpoint.
type Model struct {
	*checkpoint.Checkpoint
	Tok  *tokenizer.Tokenizer
	Arch config.Arch
}

// OpenModel opens a checkpoint, or the named one of a run, as a model; see rundir.OpenCheckpoint.
func OpenModel(path, name string) (*Model, error) {
	c, err := rundir.OpenCheckpoint(path, name)
	if err != nil {
		return nil, err
	}
	return ModelOf(c)
}

// ModelOf reads the tokenizer and the architecture of a checkpoint, and checks that the weights fit. If it fails it
// closes the checkpoint.
func ModelOf(c *checkpoint.Checkpoint) (*Model, error) {
	tok, arch, err := describe(c)
	if err == nil {
		err = model.CheckEntries(arch, c.Model())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", rundir.ErrCheckpoint, err), c.Close())
	}
	return &Model{c, tok, arch}, nil
}

// Start returns the token after which the texts of the model begin.
func (m *Model) Start() (int32, error) { return startToken(m, m.Tok) }

// Template returns the model's template of conversations, "" if it has none.
func (m *Model) Template() (string, error) {
	data, err := m.File(templateFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %w", rundir.ErrCheckpoint, err)
	}
	return string(data), nil
}

// source is a checkpoint or a model directory of others. An error of File that matches fs.ErrNotExist means that there
// is no such file.
type source interface {
	Path() string
	File(name string) ([]byte, error)
}

// readConfig reads config.json: the architecture, and the tokens for the end and the beginning of a text, -1 where it
// names none.
func readConfig(f source) (arch config.Arch, eos, bos int32, err error) {
	raw, err := f.File(configFile)
	if err == nil {
		arch, eos, bos, err = model.ParseHFConfig(raw)
	}
	if err != nil {
		err = &Error{f.Path(), configFile, err}
	}
	return arch, eos, bos, err
}

// describe reads the tokenizer and the architecture of a model, and checks that they fit. The ends of a text are
// those of config.json, else those that the tokenizer knows by name. The model may have more ids than the tokenizer;
// those have no text.
func describe(f source) (*tokenizer.Tokenizer, config.Arch, error) {
	arch, eos, bos, err := readConfig(f)
	if err != nil {
		return nil, arch, err
	}
	if bos == eos { // a text begins with the end of the one before: it has no token of its own
		bos = -1
	}
	raw, err := f.File(tokenizerFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: save the tokenizer in its fast form (tokenizer.save_pretrained)", err)
		}
		return nil, arch, &Error{f.Path(), tokenizerFile, err}
	}
	tok, err := tokenizer.ParseAs(raw, tokenizer.Roles{EOS: eos, BOS: bos, Size: arch.Vocab})
	var role *tokenizer.RoleError
	switch {
	case errors.As(err, &role):
		key := map[string]string{"EOS": "eos_token_id", "BOS": "bos_token_id", "Size": "vocab_size"}[role.Role]
		return nil, arch, &Error{f.Path(), configFile, fmt.Errorf("%s: %w", key, err)}
	case err != nil:
		return nil, arch, &Error{f.Path(), tokenizerFile, err}
	}
	return tok, arch, nil
}

// readParams reads the parameters of an architecture, until ctx is done. It checks names and shapes before it allocates
// memory. Errors name dir and file.
func readParams(ctx context.Context, a config.Arch, f *safetensors.File, dir, file string) (
	p *model.Params[float32], err error) {
	if err = model.CheckEntries(a, f); err == nil {
		p = model.NewParams[float32](a)
		err = model.LoadEntries(p, f.Until(ctx))
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &Error{dir, file, err}
	}
	return p, nil
}

// startToken returns the token after which texts begin: the beginning of a text in config.json, else that of the
// tokenizer, else the end of a text.
func startToken(f source, tok *tokenizer.Tokenizer) (int32, error) {
	_, _, bos, err := readConfig(f)
	if err != nil || bos >= 0 {
		return bos, err
	}
	if bos, ok := tok.BOS(); ok {
		return bos, nil
	}
	return tok.EOS(), nil
}
