package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"unicode/utf8"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/model"
)

// Imported is what Import read.
type Imported struct {
	Path   string // of the checkpoint
	Arch   config.Arch
	Params int64
}

// Import reads the Hugging Face model directory dir and saves it as a checkpoint, step 0, in checkpoints (made if need
// be). The weights become float32, which is exact for F32, BF16 and F16. config.json is written anew; tokenizer.json,
// and where they are there generation_config.json, tokenizer_config.json and chat_template.jinja, are kept byte for
// byte.
//
// Failure: *Error for what is wrong in dir, and the error of ctx, with nothing written; those of checkpoint.Save.
// Memory: the parameters in float32.
func Import(ctx context.Context, dir, checkpoints string) (_ *Imported, err error) {
	d, err := openDirectory(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	tok, arch, err := Describe(d)
	if err != nil {
		return nil, err
	}
	w, err := d.weights()
	if err != nil {
		return nil, err
	}
	if err := model.CheckEntries(arch, w); err != nil {
		return nil, &Error{dir, "", err}
	}
	p := model.NewParams[float32](arch)
	err = model.LoadEntries(p, until{w, ctx})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &Error{dir, "", err}
	}
	if name, i, v, found := p.FirstNonFinite(p.Flat); found {
		return nil, &Error{dir, "", fmt.Errorf("weight %s[%d] is %v: a model with such a weight computes nothing",
			name, i, v)}
	}
	files, err := d.companions()
	if err != nil {
		return nil, err
	}
	eos, bos := tok.EOS(), int32(-1)
	if id, ok := tok.BOS(); ok {
		bos = id
	}
	for name, make := range map[string]func() ([]byte, error){
		configFile:     func() ([]byte, error) { return model.HFConfig(arch, eos, bos) },
		tokenizerFile:  tok.JSON,
		generationFile: func() ([]byte, error) { return model.GenerationConfig(eos, bos) },
		tokConfigFile:  func() ([]byte, error) { return tok.ConfigJSON(arch.Context, string(files[templateFile])) },
	} {
		if files[name] != nil {
			continue
		}
		if files[name], err = make(); err != nil {
			return nil, fmt.Errorf("hub: write %s: %w", name, err)
		}
	}
	path, err := checkpoint.Save(durable.OS, checkpoints, &checkpoint.Snapshot{Files: files, Model: model.Entries(p)})
	if err != nil {
		return nil, err
	}
	if err := checkpoint.SetMark(durable.OS, filepath.Dir(path), "last", 0); err != nil {
		return nil, err
	}
	total, _ := arch.Params()
	return &Imported{Path: path, Arch: arch, Params: total}, nil
}

// companions reads the files that are kept as they are.
func (d *directory) companions() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range []string{generationFile, tokConfigFile, templateFile} {
		data, err := d.File(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
		case name == templateFile:
			if !utf8.Valid(data) {
				err = errors.New("not UTF-8")
			}
		default:
			_, err = model.ReadObject(data, maxFile)
		}
		if err != nil {
			return nil, &Error{d.path, name, err}
		}
		files[name] = data
	}
	return files, nil
}
