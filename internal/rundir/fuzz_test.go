package rundir

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/safetensors"
)

// FuzzState: whatever state.json says, it is read or refused by name, and so is the log that it knows.
func FuzzState(f *testing.F) {
	for _, s := range []string{`{"version":1,"step":4,"log":{"bytes":9,"sha256":"00"},"marks":{"last":4}}`,
		`{"version":1,"step":-1,"log":{"bytes":-9}}`, `{"version":2}`, `{"version":1,"quarantine":[{"source":-1}]}`,
		"{",
		`{"version":1,"log":{"bytes":9223372036854775807}}`} {
		f.Add([]byte(s), []byte("{\"kind\":\"step\",\"step\":4}\n"))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, state, log []byte) {
		err := os.WriteFile(filepath.Join(dir, LogFile), log, 0o666)
		at := filepath.Join(dir, "model")
		err = errors.Join(err, os.RemoveAll(at), os.MkdirAll(at, 0o777),
			os.WriteFile(filepath.Join(at, StateFile), state, 0o666))
		w, cerr := os.Create(filepath.Join(at, checkpoint.ModelFile))
		if err = errors.Join(err, cerr); err == nil {
			err = errors.Join(safetensors.Write(w, nil, nil, "F32"), w.Close(), os.Rename(filepath.Join(at, StateFile),
				filepath.Join(dir, StateFile)))
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := checkpoint.OpenWeights(durable.OS, at)
		if err == nil {
			err = errors.Join(os.Rename(filepath.Join(dir, StateFile), filepath.Join(at, StateFile)))
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		facts, err := ReadFacts(c)
		if err != nil {
			if !errors.Is(err, ErrResume) {
				t.Fatal(err)
			}
			return
		}
		if err := facts.CheckLog(dir, at); err != nil && !errors.Is(err, ErrResume) {
			t.Fatal(err)
		}
	})
}

// FuzzConfig: the configuration of a run is whole or refused, and what is read is written the same.
func FuzzConfig(f *testing.F) {
	whole := config.Default().TOML()
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("[train]\nsteps = 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := ParseConfig(data)
		if err != nil {
			return
		}
		if again, err := ParseConfig(cfg.TOML()); err != nil || again.Hash() != cfg.Hash() {
			t.Fatalf("%v: %s", err, cfg.TOML())
		}
	})
}
