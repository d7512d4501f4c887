package rundir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
)

// TestOpenCheckpointSaysWhy: a path that is no model has one cause, said once, and what to do.
func TestOpenCheckpointSaysWhy(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"empty":  {"", "DIR is neither a run nor a model: it has no model.safetensors; name a run, a checkpoint or a"},
		"shards": {"model-00001-of-00002.safetensors", "in shards: make a checkpoint of it with gimbal import"},
		"index":  {"model.safetensors.index.json", "its weights are in shards"},
		"pickle": {"pytorch_model.bin", "pickle files can run code and are not read: convert pytorch_model.bin"},
		"stray":  {"training_args.bin", "it has no model.safetensors"},
	} {
		dir := t.TempDir()
		if c.file != "" {
			if err := os.WriteFile(filepath.Join(dir, c.file), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		_, err := OpenCheckpoint(dir, "")
		if !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("%s: %v", name, err)
		}
		text := strings.ReplaceAll(err.Error(), dir, "DIR")
		if !strings.Contains(text, c.want) || strings.Count(text, "DIR") != 1 || strings.Count(text, "checkpoint") > 3 {
			t.Errorf("%s: %s", name, text)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{file: "is a file: name the directory of a run",
		filepath.Join(t.TempDir(), "none"): "here or in runs", "": "the name of the run is empty"} {
		if _, err := OpenCheckpoint(path, ""); !errors.Is(err, ErrCheckpoint) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// The files of a model in a download cache are links into it. Those of a checkpoint may not be.
func TestOpenLinkedModel(t *testing.T) {
	cache, snapshot := t.TempDir(), t.TempDir()
	for name, f := range map[string]func(path string) error{
		checkpoint.ModelFile: func(path string) error {
			return os.WriteFile(path, append([]byte{2, 0, 0, 0, 0, 0, 0, 0}, "{}"...), 0o666)
		},
		"config.json": func(path string) error { return os.WriteFile(path, []byte("{}"), 0o666) },
	} {
		if err := errors.Join(f(filepath.Join(cache, name)), os.Symlink(filepath.Join(cache, name),
			filepath.Join(snapshot, name))); err != nil {
			t.Skip(err) // where links need a privilege
		}
	}
	c, err := OpenCheckpoint(snapshot, "")
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := c.File("config.json"); err != nil || string(raw) != "{}" {
		t.Errorf("config.json: %q, %v", raw, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(snapshot, StateFile), []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCheckpoint(snapshot, ""); err == nil {
		t.Error("a checkpoint with links is opened")
	}
}

// What is left of a run that was killed before its first file was whole is swept when the run is begun again.
func TestCreateSweeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	left := durable.TempName(dir, ConfigFile)
	if err := os.WriteFile(left, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	_, lock, err := Create(dir, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", left, err)
	}
}
