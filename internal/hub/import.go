package hub

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"unicode/utf8"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/family"
	"gimbal/internal/param"
	"gimbal/internal/rundir"
)

// Imported is a model that Import saved.
type Imported struct {
	Path  string // of the checkpoint
	Arch  config.Arch
	Notes []string // what its files say and is not done, or not as they say, a sentence each
}

// Import reads the Hugging Face model directory dir and saves it as step 0 of the new run out, which must be
// missing or empty. The weights become float32, which is exact for F32, BF16 and F16. config.json is written anew. The
// other files that exist are kept byte for byte, but for a byte order mark: tokenizer.json, generation_config.json,
// tokenizer_config.json, special_tokens_map.json and chat_template.jinja.
//
// Failure: *Error for what is wrong in dir, and the error of ctx, with nothing written; the errors of checkpoint.Save.
// Memory: the parameters in float32.
func Import(ctx context.Context, dir, out string) (_ *Imported, err error) {
	d, err := openDirectory(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.proven(); err != nil {
		return nil, err
	}
	tok, arch, notes, err := describe(d)
	if err != nil {
		return nil, err
	}
	w, err := d.weights()
	if err != nil {
		return nil, err
	}
	p, err := readParams(ctx, arch, w, dir, "")
	if err != nil {
		return nil, err
	}
	kept, err := d.companions()
	if err != nil {
		return nil, err
	}
	files, err := ModelFiles(arch, tok, Manner{Start: (&Model{Tok: tok}).Start(), Template: string(kept[templateFile])})
	if err != nil {
		return nil, err
	}
	maps.Copy(files, kept)
	err = whole(out, func(tmp string) error {
		at := rundir.CheckpointsOf(tmp)
		_, err := checkpoint.Save(durable.OS, at, &checkpoint.Snapshot{Files: files, Model: param.Entries(p)})
		if err == nil {
			err = checkpoint.SetMark(durable.OS, at, "last", 0)
		}
		return err
	})
	path := filepath.Join(rundir.CheckpointsOf(out), checkpoint.StepName(0))
	return &Imported{path, arch, append(notes, d.notes...)}, err
}

// proven checks a directory against its manifest, where it has one of ours.
func (d *directory) proven() error {
	raw, err := d.File(checkpoint.ManifestFile)
	if err != nil || !bytes.Contains(raw, []byte(`"step":`)) || !bytes.Contains(raw, []byte(`"sha256":`)) {
		return nil
	}
	c, err := checkpoint.OpenWeights(durable.OS, d.path)
	if err != nil {
		return err
	}
	return c.Close()
}

// companions reads the files that Import keeps as they are.
func (d *directory) companions() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range []string{generationFile, tokConfigFile, specialFile, templateFile} {
		data, err := d.File(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
		case name != templateFile:
			_, err = family.ReadObject(data, maxFile)
		case !utf8.Valid(data):
			err = errors.New("not UTF-8")
		}
		if err != nil {
			return nil, &Error{d.path, name, err}
		}
		files[name] = data
	}
	return files, nil
}
