package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"unicode/utf8"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/model"
)

// Import reads the Hugging Face model directory dir and saves it as a checkpoint, step 0, in checkpoints (made if it
// is missing). It returns the path of the checkpoint and the architecture. The weights become float32, which is exact
// for F32, BF16 and F16. config.json is written anew. The other files that exist are kept byte for byte, but
// for a byte order mark: tokenizer.json, generation_config.json, tokenizer_config.json and chat_template.jinja.
//
// Failure: *Error for what is wrong in dir, and the error of ctx, with nothing written; the errors of checkpoint.Save.
// Memory: the parameters in float32.
func Import(ctx context.Context, dir, checkpoints string) (path string, arch config.Arch, err error) {
	d, err := openDirectory(dir)
	if err != nil {
		return "", arch, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	tok, arch, err := describe(d)
	if err != nil {
		return "", arch, err
	}
	w, err := d.weights()
	if err != nil {
		return "", arch, err
	}
	p, err := readParams(ctx, arch, w, dir, "")
	if err != nil {
		return "", arch, err
	}
	if name, i, v, found := p.FirstNonFinite(p.Flat); found {
		return "", arch, &Error{dir, "", fmt.Errorf("weight %s[%d] is %v: a model with such a weight computes nothing",
			name, i, v)}
	}
	kept, err := d.companions()
	if err != nil {
		return "", arch, err
	}
	bos, ok := tok.BOS()
	if !ok {
		bos = -1
	}
	files, err := ModelFiles(arch, tok, bos, string(kept[templateFile]))
	if err != nil {
		return "", arch, err
	}
	maps.Copy(files, kept)
	path, err = checkpoint.Save(durable.OS, checkpoints, &checkpoint.Snapshot{Files: files, Model: model.Entries(p)})
	if err == nil {
		err = checkpoint.SetMark(durable.OS, filepath.Dir(path), "last", 0)
	}
	return path, arch, err
}

// companions reads the files that Import keeps as they are.
func (d *directory) companions() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range []string{generationFile, tokConfigFile, templateFile} {
		data, err := d.File(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
		case name != templateFile:
			_, err = model.ReadObject(data, maxFile)
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
