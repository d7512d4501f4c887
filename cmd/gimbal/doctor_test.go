package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The doctor says what is whole and what a resume would do, changes nothing unless it is asked to, and mends what
// follows from the rest. What it replaces stays, beside the run.
func TestDoctorOfADamagedRun(t *testing.T) {
	texts(t, 30)
	train := append([]string{"train", "--data", "texts", "--steps", "8", "--set", "checkpoint.every=4", "--out",
		"whole"},
		smallest...)
	gimbals(t, 0, train...)
	const newest = "checkpoints/step-8/"
	cut := func(b []byte) []byte { return b[:len(b)/2] }
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	unend := func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] }
	for name, c := range map[string]struct {
		file   string
		change func([]byte) []byte // nil: a directory of that name is made
		want   string              // in what is said
		resume string
		mends  bool
	}{ // a resume that refuses is an error
		"nothing":       {"", nil, "", "", true},
		"configuration": {"config.toml", cut, "damaged  config.toml", "it refuses", true},
		"tokenizer":     {"tokenizer.json", flip, "damaged  tokenizer.json", "it refuses", true},
		"marks": {"checkpoints/marks.json", flip, "damaged  checkpoints/marks.json",
			"all 8 steps are done", true},
		"log":        {"log.jsonl", cut, "damaged  log.jsonl", "it refuses", false},
		"end record": {"log.jsonl", unend, "unended  log.jsonl", "all 8 steps are done", false},
		"newest checkpoint": {newest + "model.safetensors", flip, "damaged  checkpoints/step-8",
			"goes on from step 7", false},
		"state": {newest + "state.json", flip, "damaged  checkpoints/step-8", "goes on from step 7", false},
		"litter": {"checkpoints/.tmp-4-0123456789ab", nil, "litter   checkpoints/.tmp-4", "all 8 steps",
			true},
		"link": {"samples/eval-1.md", nil, "refused  samples/eval-1.md", "all 8 steps are done", false},
	} {
		if name == "link" && runtime.GOOS == "windows" {
			continue
		}
		if err := os.CopyFS(name, os.DirFS("whole")); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(name, filepath.FromSlash(c.file))
		raw, err := os.ReadFile(at)
		switch {
		case c.file == "":
			err = nil
		case name == "link":
			_ = os.Remove(at)
			err = os.Symlink("../report.md", at)
		case c.change == nil:
			err = os.Mkdir(at, 0o777)
		case err == nil:
			err = os.WriteFile(at, c.change(bytes.Clone(raw)), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		before := listing(t, name)
		var out, messages bytes.Buffer
		code := run([]string{"doctor", name}, nil, &out, &messages)
		refuses := c.resume == "it refuses"
		if code != map[bool]int{true: 5, false: 0}[refuses] ||
			!strings.Contains(out.String(), c.want) || !strings.Contains(out.String(), c.resume) ||
			strings.Contains(out.String(), "--repair mends it") != (c.mends && c.file != "") {
			t.Errorf("%s: exit code %d\n%s%s", name, code, out.String(), messages.String())
		}
		if after := listing(t, name); after != before {
			t.Errorf("%s: the doctor changed the run:\n%s\nit was\n%s", name, after, before)
		}
		code = run([]string{"doctor", name, "--repair"}, nil, &out, &messages)
		if (code == 0) != (c.mends || !refuses) {
			t.Errorf("%s: repaired: exit code %d\n%s%s", name, code, out.String(), messages.String())
		}
		if c.mends && c.file != "" {
			if kept, err := os.ReadDir(filepath.Join(name, "aside")); err != nil || len(kept) != 1 {
				t.Errorf("%s: kept %v, %v", name, kept, err)
			}
			if mended, _ := os.ReadFile(at); !bytes.Equal(mended, raw) {
				t.Errorf("%s: %s is not what it was", name, c.file)
			}
			gimbals(t, 0, "resume", name)
		}
	}
	list, _ := gimbals(t, 0, "checkpoint", "whole")
	if !strings.Contains(list, "step-8") || !strings.Contains(list, "last") || !strings.Contains(list, "healthy") {
		t.Errorf("list: %s", list)
	}
	gimbals(t, 0, "checkpoint", "verify", "whole")
	gimbals(t, 5, "checkpoint", "verify", "newest checkpoint")
	if out, _ := gimbals(t, 0, "checkpoint", "prune", "whole", "--keep", "1"); !strings.HasPrefix(out, "deleted ") {
		t.Errorf("prune: %s", out)
	}
	gimbals(t, 0, "checkpoint", "verify", "whole")
}

// listing is every name of a directory, with the length of files.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil {
			info, ierr := e.Info()
			if err = ierr; err == nil && !e.IsDir() {
				b.WriteString(info.ModTime().String())
			}
			b.WriteString(path + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
