package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/model"
	"gimbal/internal/safetensors"
)

// dtypes are the types of exported weights: their names in a file of weights and in config.json.
var dtypes = map[string][2]string{"fp32": {"F32", "float32"}, "bf16": {"BF16", "bfloat16"}}

// Export writes a checkpoint as the Hugging Face model directory dir, which must be missing or empty. dtype is fp32,
// which is exact, or bf16. The same checkpoint gives the same bytes. After a failure there is no directory.
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
	_, arch, _, err := describe(c)
	if err != nil {
		return err
	}
	p, err := readParams(ctx, arch, c.Model(), c.Path(), weightsFile)
	if err != nil {
		return err
	}
	return write(dir, c.Step(), files, func(w io.Writer) error {
		w = untilWriter{w, ctx}
		return safetensors.Write(w, model.Entries(p), map[string]string{"format": "pt"}, types[0])
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

// exported returns the small files of a checkpoint that belong to the model and not to the run.
func exported(c *checkpoint.Checkpoint, dtype string) (map[string][]byte, error) {
	arch, t, err := readConfig(c)
	if err != nil {
		return nil, err
	}
	eos := int32(-1)
	if len(t.ends) > 0 {
		eos, t.ends = t.ends[0], t.ends[1:]
	}
	conf, err := model.HFConfig(arch, eos, t.bos, dtype, t.ends...)
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

// write makes the directory dir of files and weights, with a manifest, durably, first under another name.
func write(dir string, step int64, files map[string][]byte, weights func(io.Writer) error) (err error) {
	fsys := durable.OS
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	tmp := durable.TempName(parent, filepath.Base(dir))
	there, err := os.ReadDir(dir)
	if len(there) > 0 {
		return &Error{dir, "", errors.New("exists and is not empty: name a new directory")}
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("hub: export to %s: %w", dir, err), fsys.RemoveAll(tmp))
		}
	}()
	if err == nil {
		err = fsys.Remove(dir)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = durable.Mkdir(fsys, parent)
	}
	if err != nil {
		return err
	}
	if err := durable.SweepFree(parent, filepath.Base(dir)); err != nil { // of an export that was killed
		return err
	}
	if err := fsys.Mkdir(tmp); err != nil {
		return err
	}
	held, err := durable.Hold(tmp)
	if err != nil {
		return err
	}
	defer held.Close()
	if err := checkpoint.WriteModel(fsys, tmp, step, files, weights); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, dir); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}
