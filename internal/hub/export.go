package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/model"
	"gimbal/internal/safetensors"
)

// dtypes are the types that weights can be exported in, as a file of weights and as config.json call them.
var dtypes = map[string][2]string{"fp32": {"F32", "float32"}, "bf16": {"BF16", "bfloat16"}}

// Export writes a checkpoint as the Hugging Face model directory dir, which must not be there yet, or be empty. dtype
// is fp32, which is exact, or bf16. The same checkpoint gives the same bytes; the directory is there whole or not at
// all.
//
// Memory: the parameters in float32.
func Export(ctx context.Context, c *checkpoint.Checkpoint, dir, dtype string) error {
	types, ok := dtypes[dtype]
	if !ok {
		return fmt.Errorf("hub: export: dtype %q: fp32 or bf16", dtype)
	}
	files, err := exported(c, types[1])
	if err != nil {
		return err
	}
	_, arch, err := Describe(c)
	if err != nil {
		return err
	}
	if err := model.CheckEntries(arch, c.Model()); err != nil {
		return &Error{c.Path(), weightsFile, err}
	}
	p := model.NewParams[float32](arch)
	err = model.LoadEntries(p, until{c.Model(), ctx})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return &Error{c.Path(), weightsFile, err}
	}
	return write(dir, files, func(w io.Writer) error {
		w = untilWriter{w, ctx}
		return safetensors.WriteAs(w, model.Entries(p), map[string]string{"format": "pt"}, types[0])
	})
}

// exported returns the small files of a checkpoint that belong to the model and not to the run.
func exported(c *checkpoint.Checkpoint, dtype string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range []string{configFile, generationFile, tokenizerFile, tokConfigFile, templateFile} {
		data, err := c.File(name)
		if errors.Is(err, fs.ErrNotExist) && name != configFile && name != tokenizerFile {
			continue // nothing needs it
		}
		if err != nil {
			return nil, &Error{c.Path(), name, err}
		}
		files[name] = data
	}
	arch, err := model.ParseHFConfig(files[configFile])
	if err == nil {
		var eos, bos int32
		if eos, bos, err = model.ParseHFEnds(files[configFile]); err == nil {
			files[configFile], err = model.HFConfigAs(arch, eos, bos, dtype)
		}
	}
	if err != nil {
		return nil, &Error{c.Path(), configFile, err}
	}
	return files, nil
}

// write makes the directory dir of files and weights, durably, under another name first.
func write(dir string, files map[string][]byte, weights func(io.Writer) error) (err error) {
	fsys := durable.OS
	dir = filepath.Clean(dir)
	switch there, err := os.ReadDir(dir); {
	case err == nil && len(there) > 0:
		return &Error{dir, "", errors.New("is there already and not empty: name a new directory")}
	case err == nil:
		if err := fsys.Remove(dir); err != nil {
			return fmt.Errorf("hub: export: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("hub: export: %w", err)
	}
	parent := filepath.Dir(dir)
	if err := durable.Mkdir(fsys, parent); err != nil {
		return fmt.Errorf("hub: export: %w", err)
	}
	tmp := durable.TempName(parent, filepath.Base(dir))
	if err := fsys.Mkdir(tmp); err != nil {
		return fmt.Errorf("hub: export: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("hub: export to %s: %w", dir, err), fsys.RemoveAll(tmp))
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := durable.WriteNew(fsys, filepath.Join(tmp, name), func(w io.Writer) error {
			_, err := w.Write(files[name])
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := durable.WriteNew(fsys, filepath.Join(tmp, weightsFile), weights); err != nil {
		return err
	}
	if err := fsys.SyncDir(tmp); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, dir); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}
