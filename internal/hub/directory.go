package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"gimbal/internal/bom"
	"gimbal/internal/checkpoint"
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

// maxFile bounds the small files of a directory.
const maxFile = 1 << 20

// directory is a model directory that is not trusted, open for reading.
type directory struct {
	path string
	root *os.Root
	open []*os.File // weights

	notes []string // what is there and is not read, a sentence each
}

// openDirectory opens the directory at path.
func openDirectory(path string) (*directory, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Error{path, "", errors.New("there is no such directory")}
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, &Error{path, "", fmt.Errorf("is a file: give the directory that holds %s, %s and %s",
			configFile, tokenizerFile, weightsFile)}
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &directory{path: path, root: root}, nil
}

func (d *directory) Path() string { return d.path }

// close closes what was opened.
func (d *directory) close() error {
	errs := []error{d.root.Close()}
	for _, f := range d.open {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// file opens a regular file by its plain name and returns its size. Its errors do not name the file.
func (d *directory) file(name string) (*os.File, int64, error) {
	if !checkpoint.PlainName(name) {
		return nil, 0, fmt.Errorf("%q is not the plain name of a file", name)
	}
	info, err := d.root.Stat(name) // opening a pipe would wait
	if err == nil && !info.Mode().IsRegular() {
		return nil, 0, errors.New("is not a regular file")
	}
	var f *os.File
	if err == nil {
		f, err = d.root.Open(name)
	} else if link, lerr := d.root.Lstat(name); lerr == nil && link.Mode()&fs.ModeSymlink != 0 {
		return nil, 0, errors.New("is a symbolic link that leads out of the directory or nowhere: " +
			"make a copy with the files themselves (cp -rL)")
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// File returns the content of a file that is no longer than its limit, without a byte order mark.
func (d *directory) File(name string) ([]byte, error) {
	limit := int64(maxFile)
	switch name {
	case tokenizerFile:
		limit = tokenizer.MaxFile
	case indexFile:
		limit = maxIndex
	}
	f, size, err := d.file(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, fmt.Errorf("has %d bytes, more than %d", size, limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("has more than %d bytes", limit)
	}
	return bom.Drop(data), err
}

// safetensors opens a file of weights, which stays open until close.
func (d *directory) safetensors(name string) (*safetensors.File, error) {
	f, size, err := d.file(name)
	if err != nil {
		return nil, err
	}
	d.open = append(d.open, f)
	return safetensors.Parse(f, size)
}

// foreign are files of weights that are not read, by what their names match.
var foreign = []struct{ like, what string }{
	{"adapter_model.*", "is an adapter and no model: merge it into its model first (peft: merge_and_unload, then " +
		"save_pretrained)"},
	{"*.gguf", "is not read: convert it to " + weightsFile},
	{"*.h5", "is not read: convert it to " + weightsFile},
	{"*.msgpack", "is not read: convert it to " + weightsFile},
	{"*.onnx", "is not read: convert it to " + weightsFile},
	{"*.safetensors", "is not the name of a model: weights are in " + weightsFile + " or in shards; rename it if it is " +
		"one"},
	{"*.bin", pickled}, {"*.pt", pickled}, {"*.pth", pickled}, {"*.ckpt", pickled}, {"*.pkl", pickled},
	{"*.pickle", pickled},
}

const pickled = "is a pickle file, which can run code when it is read, so gimbal does not read it: convert it where " +
	"you trust it (transformers: model.save_pretrained(\"DIR\") writes " + weightsFile + ")"

// strays are files that a trainer leaves beside a model. They hold no weights of it.
var strays = []string{"training_args.*", "trainer_state.*", "optimizer.*", "scheduler.*", "scaler.*", "rng_state*",
	"sharded_rng_state*", "random_states_*", "*optim_states.*", "tokenizer*", "spiece*", "vocab.*"}

// noWeights says why a directory without safetensors is refused.
func (d *directory) noWeights(entries []fs.DirEntry) error {
	like := func(pattern, name string) bool {
		ok, err := path.Match(pattern, strings.ToLower(name))
		return ok && err == nil
	}
	for _, f := range foreign {
		for _, e := range entries {
			stray := func(pattern string) bool { return like(pattern, e.Name()) }
			if like(f.like, e.Name()) && !slices.ContainsFunc(strays, stray) {
				return &Error{d.path, e.Name(), errors.New(f.what)}
			}
		}
	}
	return &Error{d.path, "", fmt.Errorf("it has no weights: neither %s, nor %s, nor shards", weightsFile, indexFile)}
}
