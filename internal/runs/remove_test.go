package runs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
)

// TestRemoveLeavesWhatIsNotTheRuns: a run that was made in a folder of other things takes only itself away.
func TestRemoveLeavesWhatIsNotTheRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "project")
	makeRun(t, dir)
	check(t, os.Mkdir(filepath.Join(dir, rundir.Refused), 0o777))
	write(t, filepath.Join(dir, rundir.Refused, "batch-7.json"), "{}")
	check(t, os.Mkdir(filepath.Join(dir, "averaged"), 0o777))
	write(t, filepath.Join(dir, "averaged", "model.safetensors"), "")
	write(t, durable.TempName(dir, "report.md"), "")
	write(t, durable.TempName(filepath.Join(dir, rundir.Samples), "eval-3.md"), "")
	mine := []string{"main.go", "samples/mine.wav", "checkpoints/step-1.ckpt"}
	for _, name := range mine {
		write(t, filepath.Join(dir, name), "mine")
	}
	left, err := Remove(dir)
	if err != nil || !slices.Equal(left, []string{"checkpoints", "main.go", "samples"}) {
		t.Errorf("left %q, %v", left, err)
	}
	var files []string
	check(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	}))
	slices.Sort(mine)
	if !slices.Equal(files, mine) {
		t.Errorf("there are %q", files)
	}
	if _, err := Remove(dir); err == nil {
		t.Error("it was removed again")
	}
}

// TestRemoveRefuses what is no run for sure, and follows no link.
func TestRemoveRefuses(t *testing.T) {
	tests := []struct {
		name string
		make func(dir string)
		text string
	}{
		{"nothing", func(string) {}, "no such file"},
		{"a file", func(dir string) { write(t, dir, "") }, "no directory"},
		{"an empty folder", func(dir string) { check(t, os.Mkdir(dir, 0o777)) }, "no run"},
		{"somebody's lock", func(dir string) {
			check(t, os.Mkdir(dir, 0o777))
			write(t, filepath.Join(dir, rundir.LockFile), "")
		}, "no run"},
		{"a folder of runs", func(dir string) { makeRun(t, filepath.Join(dir, "run")) }, "no run"},
		{"a link to a run", func(dir string) {
			makeRun(t, dir+"-itself")
			check(t, os.Symlink(dir+"-itself", dir))
		}, "it is a link"},
		{"somebody's site", func(dir string) {
			check(t, os.Mkdir(dir, 0o777))
			write(t, filepath.Join(dir, rundir.ConfigFile), "baseURL = \"x\"")
			write(t, filepath.Join(dir, "index.html"), "")
		}, `holds "index.html"`},
		{"an empty configuration", func(dir string) {
			check(t, os.Mkdir(dir, 0o777))
			write(t, filepath.Join(dir, rundir.ConfigFile), "# nothing\n")
			write(t, filepath.Join(dir, "index.html"), "")
		}, `holds "index.html"`},
		{"somebody's log", func(dir string) {
			check(t, os.Mkdir(dir, 0o777))
			write(t, filepath.Join(dir, rundir.LogFile), `{"kind":"event","message":"hello"}`+"\n")
			write(t, filepath.Join(dir, "server.js"), "")
		}, `holds "server.js"`},
		{"somebody's checkpoints", func(dir string) {
			check(t, os.MkdirAll(filepath.Join(dir, rundir.Checkpoints, "step-100"), 0o777))
			write(t, filepath.Join(dir, "train.py"), "")
		}, `holds "train.py"`},
	}
	for _, tt := range tests {
		dir := filepath.Join(t.TempDir(), "it")
		tt.make(dir)
		parent := filepath.Dir(dir)
		before := tree(t, parent)
		_, err := Remove(dir)
		wants(t, tt.name, err, tt.text)
		_, err = Remove(dir + string(filepath.Separator)) // which follows a link
		if err == nil {
			t.Errorf("%s: removed with a slash", tt.name)
		}
		if after := tree(t, parent); after != before {
			t.Errorf("%s: it was changed:\n%s\nit was\n%s", tt.name, after, before)
		}
	}
}

// TestRemoveKnowsARun by any one of its three signs, among other things.
func TestRemoveKnowsARun(t *testing.T) {
	cfg, err := config.Load("", []config.Assignment{config.Set("train.steps=30")})
	check(t, err)
	for name, make := range map[string]func(dir string){
		"log":           func(dir string) { write(t, filepath.Join(dir, rundir.LogFile), logLines(t)[0]) },
		"configuration": func(dir string) { write(t, filepath.Join(dir, rundir.ConfigFile), string(cfg.TOML())) },
		"checkpoint":    func(dir string) { saveState(t, dir, 3, "", "") },
	} {
		dir := t.TempDir()
		make(dir)
		write(t, filepath.Join(dir, "notes.txt"), "")
		if left, err := Remove(dir); err != nil || !slices.Equal(left, []string{"notes.txt"}) {
			t.Errorf("%s: left %q, %v", name, left, err)
		}
	}
}

// TestRemoveLinks deletes links, and not where they lead.
func TestRemoveLinks(t *testing.T) {
	dir, outside := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "checkpoints")
	makeRun(t, dir)
	check(t, os.Rename(rundir.CheckpointsOf(dir), outside))
	if err := os.Symlink(outside, rundir.CheckpointsOf(dir)); err != nil {
		t.Skip(err)
	}
	before := tree(t, outside)
	if r := Read(dir); r.Bytes > 10_000 || r.State != Interrupted {
		t.Errorf("%+v", r)
	}
	if left, err := Remove(dir); err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
	if after := tree(t, outside); after != before {
		t.Errorf("what the link leads to:\n%s\nit was\n%s", after, before)
	}
}
