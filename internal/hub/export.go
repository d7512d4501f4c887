package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/family"
	"gimbal/internal/param"
	"gimbal/internal/safetensors"
)

// dtypes are the types of exported weights: their names in a file of weights and in config.json.
var dtypes = map[string][2]string{"fp32": {"F32", "float32"}, "bf16": {"BF16", "bfloat16"}}

// Export writes a checkpoint as the Hugging Face model directory dir, which must be missing or empty. dtype is fp32,
// which is exact, or bf16. The same checkpoint gives the same bytes. After a failure there is no directory.
//
// An adapter is added to the weights that it stands beside; ExportAdapter writes it by itself.
//
// Memory: the parameters in float32.
func Export(ctx context.Context, c *checkpoint.Checkpoint, dir, dtype string) (err error) {
	types, ok := dtypes[dtype]
	if !ok {
		return fmt.Errorf("hub: export: dtype %q: fp32 or bf16", dtype)
	}
	m, err := share(c, 0)
	if err != nil {
		return err
	}
	defer func() {
		if m.base != nil {
			err = errors.Join(err, m.base.Close())
		}
	}()
	files, err := exported(m, types[1])
	if err != nil {
		return err
	}
	p, err := readParams(ctx, m.Arch, m.Model(), c.Path(), weightsFile)
	if err != nil {
		return err
	}
	return write(dir, c.Step(), files, weightsFile, func(w io.Writer) error {
		w = untilWriter{w, ctx}
		return safetensors.Write(w, param.Entries(p), map[string]string{"format": "pt"}, types[0])
	})
}

// ExportAdapter writes the adapter in a checkpoint as a directory that PEFT loads, as Export does.
func ExportAdapter(ctx context.Context, c *checkpoint.Checkpoint, dir string) error {
	files := map[string][]byte{}
	for _, name := range []string{adapterFile, baseFile, tokenizerFile, tokConfigFile, specialFile, templateFile} {
		data, err := c.File(name)
		switch {
		case err == nil:
			files[name] = data
		case name == adapterFile || !errors.Is(err, fs.ErrNotExist):
			return &Error{c.Path(), name, err}
		}
	}
	var entries []safetensors.Entry
	f := c.Model().Until(ctx)
	for _, t := range f.Tensors() {
		e := safetensors.Entry{Name: t.Name, Shape: t.Shape, Data: make([]float32, t.Len())}
		if err := f.ReadF32(e.Data, t.Name); err != nil {
			return &Error{c.Path(), checkpoint.AdapterFile, err}
		}
		if i := slices.IndexFunc(e.Data, func(v float32) bool { return v-v != 0 }); i >= 0 {
			return &Error{c.Path(), checkpoint.AdapterFile, nonFinite(e.Name, i, float64(e.Data[i]))}
		}
		entries = append(entries, e)
	}
	return write(dir, c.Step(), files, checkpoint.AdapterFile, func(w io.Writer) error {
		return safetensors.Write(untilWriter{w, ctx}, entries, map[string]string{"format": "pt"}, "F32")
	})
}

// untilWriter is a writer that fails once a context is done.
type untilWriter struct {
	io.Writer
	ctx context.Context
}

func (u untilWriter) Write(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Writer.Write(p)
}

// exported returns the small files of a model that belong to the model and not to the run.
func exported(c source, dtype string) (map[string][]byte, error) {
	arch, t, err := readConfig(c)
	if err != nil {
		return nil, err
	}
	eos := int32(-1)
	if len(t.ends) > 0 {
		eos, t.ends = t.ends[0], t.ends[1:]
	}
	conf, err := family.Config(arch, eos, t.bos, dtype, t.ends...)
	if err != nil {
		return nil, &Error{c.Path(), configFile, err}
	}
	files := map[string][]byte{configFile: conf}
	for _, name := range []string{generationFile, tokenizerFile, tokConfigFile, specialFile, templateFile} {
		data, err := c.File(name)
		if errors.Is(err, fs.ErrNotExist) && name != tokenizerFile {
			continue // it is not needed
		}
		if err != nil {
			return nil, &Error{c.Path(), name, err}
		}
		files[name] = data
	}
	return files, nil
}

// write makes the directory dir of files and the named weights, with a manifest.
func write(dir string, step int64, files map[string][]byte, name string, weights func(io.Writer) error) error {
	err := whole(dir, func(tmp string) error {
		return checkpoint.WriteModel(durable.OS, tmp, step, files, name, weights)
	})
	if bad := (*Error)(nil); err != nil && !errors.As(err, &bad) {
		err = fmt.Errorf("hub: export to %s: %w", dir, err)
	}
	return err
}

// whole makes the directory dir, which must be missing or empty, durably or not at all: under another name first. It
// sweeps what killed processes left of it.
func whole(dir string, make func(tmp string) error) (err error) {
	fsys := durable.OS
	dir = filepath.Clean(dir)
	parent, base := filepath.Split(dir)
	parent = filepath.Clean(parent)
	there, err := os.ReadDir(dir)
	if len(there) > 0 {
		return &Error{dir, "", errors.New("exists and is not empty: name a new directory")}
	}
	if err == nil {
		err = fsys.Remove(dir)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = durable.Mkdir(fsys, parent)
	}
	if err != nil {
		return err
	}
	if err := durable.SweepFree(parent, base); err != nil {
		return err
	}
	tmp, held, err := durable.Unfinished(fsys, parent, base)
	if err != nil {
		return err
	}
	defer held.Close()
	if err = make(tmp); err == nil {
		err = fsys.Rename(tmp, dir)
	}
	if err != nil {
		return errors.Join(err, fsys.RemoveAll(tmp))
	}
	return fsys.SyncDir(parent)
}
