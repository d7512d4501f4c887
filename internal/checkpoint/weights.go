package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"gimbal/internal/durable"
)

// OpenWeights opens a Hugging Face model directory for its weights. With a manifest it does what Open does. Without
// one there is nothing to verify against, and the result is step 0 without optimizer state; but what is left of a
// checkpoint of a run is refused: that had a manifest. A model in shards or in a pickle file is refused.
func OpenWeights(fsys durable.FS, path string) (*Checkpoint, error) {
	there := func(name string) bool {
		_, err := fsys.Stat(filepath.Join(path, name))
		return !errors.Is(err, fs.ErrNotExist)
	}
	name := ModelFile
	if !there(ModelFile) && there(AdapterFile) {
		name = AdapterFile
	}
	_, step := parseName(filepath.Base(path))
	switch ofRun := there(stateFile) || there(OptimizerFile) || there(HealthFile); {
	case there(ManifestFile):
		c, err := Open(fsys, path)
		if errors.Is(err, ErrCorrupt) && !ofRun {
			err = fmt.Errorf("%w (if it was changed on purpose, delete %s)", err, filepath.Join(path, ManifestFile))
		}
		return c, err
	case there(name) && (ofRun || step):
		return nil, corrupt(path, ManifestFile, "is missing, so nothing says that the checkpoint is whole")
	case !there(name):
		return nil, noWeights(fsys, path)
	}
	f, size, err := openFile(fsys, path, name, -1)
	if err != nil {
		return nil, err
	}
	t, err := parseTensors(f, path, name, size)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Checkpoint{fsys: fsys, path: path, model: t, adapter: name == AdapterFile, open: []durable.File{f}}, nil
}

// NoneError says why a directory is no model; it matches ErrNone.
type NoneError struct{ Path, Why string }

func (e *NoneError) Error() string { return fmt.Sprintf("checkpoint: open %s: %s", e.Path, e.Why) }

func (e *NoneError) Is(target error) bool { return target == ErrNone }

// noWeights says why a directory without a file of weights is no model.
func noWeights(fsys durable.FS, path string) error {
	entries, err := fsys.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &NoneError{path, "there is no such directory"}
	case err != nil:
		return fmt.Errorf("checkpoint: open %s: %w", path, err)
	}
	why := "it has no " + ModelFile + "; name a run, a checkpoint or a directory that has one"
	for _, e := range entries {
		switch name := e.Name(); {
		case name == ModelFile+".index.json",
			strings.HasPrefix(name, "model-") && strings.HasSuffix(name, ".safetensors"):
			return &NoneError{path, "its weights are in shards: make a checkpoint of it with gimbal import"}
		case strings.HasPrefix(name, "pytorch_model") && strings.HasSuffix(name, ".bin"):
			why = "pickle files can run code and are not read: convert " + name + " to " + ModelFile
		}
	}
	return &NoneError{path, why}
}
