//go:build unix

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gimbal/internal/exit"
)

const canary = "the canary sings"

// strangers are things that somebody can have put into a run. Each returns what else it needs to be there.
func strangers(home string) map[string]func(t *testing.T, run string) {
	must := func(t *testing.T, errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]func(t *testing.T, run string){}
	// What the names held lies outside, with links in its place.
	for kind, link := range map[string]func(old, new string) error{"link": os.Symlink, "hard link": os.Link} {
		for what, names := range map[string][]string{
			"configuration": {"config.toml"}, "tokenizer": {"tokenizer.json"}, "log": {"log.jsonl"}, "lock": {"lock"},
			"report": {"report.md"}, "page": {"samples/eval-1.md"}, "marks": {"checkpoints/marks.json"},
			"state":   {"checkpoints/step-4/state.json"},
			"weights": {"checkpoints/step-4/model.safetensors", "checkpoints/step-4/optimizer.safetensors"},
			"folders": {"samples", "checkpoints"}, "checkpoint": {"checkpoints/step-4"},
		} {
			if kind == "hard link" && (what == "folders" || what == "checkpoint") {
				continue
			}
			all[what+" is a "+kind] = func(t *testing.T, run string) {
				for _, name := range names {
					mine := filepath.Join(home, filepath.Base(run), filepath.FromSlash(name))
					must(t, os.MkdirAll(filepath.Dir(mine), 0o777),
						os.Rename(filepath.Join(run, name), mine), link(mine, filepath.Join(run, name)))
				}
			}
		}
	}
	// The configuration names files outside.
	for key, value := range map[string]string{"data.paths": `["` + home + `/secret.txt"]`,
		"judge.encoder": `"` + home + `/secret.txt"`, "numeric.device": `"` + home + `/secret.txt"`,
		"tokenizer.path": `"` + home + `/secret.txt"`, "eval.keep": `["` + home + `/secret.txt"]`,
		// and hostile numbers
		"model.width": "1073741824", "model.layers": "1048576", "train.context": "9223372036854775807",
		"train.batch_tokens": "4611686018427387904", "eval.samples": "2147483647", "checkpoint.keep": "-1",
		"train.steps": "9223372036854775807", "optim.lr": "1e308"} {
		all[key] = func(t *testing.T, run string) {
			name := filepath.Join(run, "config.toml")
			raw, err := os.ReadFile(name)
			must(t, err)
			section, field, _ := strings.Cut(key, ".")
			in, lines := "", strings.Split(string(raw), "\n")
			for i, line := range lines {
				if line = strings.TrimSpace(line); strings.HasPrefix(line, "[") {
					in = strings.Trim(line, "[]")
				}
				if f, _, ok := strings.Cut(line, "="); ok && in == section && strings.TrimSpace(f) == field {
					lines[i] = field + " = " + value
				}
			}
			changed := strings.Join(lines, "\n")
			if changed == string(raw) {
				t.Fatalf("%s is not in the configuration", key)
			}
			must(t, os.WriteFile(name, []byte(changed), 0o666))
		}
	}
	return all
}

// Whatever is in a run of a stranger, no command reads or writes what lies outside and nobody named, or takes it for a
// program, or ends with a fault of its own.
func TestARunOfAStranger(t *testing.T) {
	texts(t, 30)
	home := t.TempDir()
	line := append([]string{"train", "--data", "texts", "--steps", "4", "--out", "whole"}, smallest...)
	gimbals(t, 0, line...)
	if err := os.WriteFile(filepath.Join(home, "secret.txt"), []byte(canary), 0o666); err != nil {
		t.Fatal(err)
	}
	cases := strangers(home)
	n := 0
	for name, do := range cases {
		n++
		dir := strings.NewReplacer(" ", "-", ".", "-").Replace(name)
		if err := os.CopyFS(dir, os.DirFS("whole")); err != nil {
			t.Fatal(err)
		}
		do(t, dir)
		before := contents(t, home)
		for _, args := range [][]string{{"why", dir}, {"runs", dir}, {"review", dir, "--list"},
			{"compare", dir, "whole"},
			{"checkpoint", dir}, {"checkpoint", "verify", dir}, {"sample", dir, "-n", "1"}, {"chat", dir},
			{"eval", dir, "--loss-only"}, {"data", "inspect", dir}, {"export", dir, dir + "-out"},
			append([]string{"train", "--from", dir, "--data", "texts", "--steps", "1", "--out", dir + "-new"},
				smallest[8:]...),
			{"doctor", dir}, {"resume", dir, "--steps", "5"}, {"checkpoint", "prune", dir}, {"doctor", dir, "--repair"},
			{"runs", "rm", dir, "--yes"}} {
			var out, messages bytes.Buffer
			began := time.Now()
			code := run(args, strings.NewReader("hi\n"), &out, &messages)
			said := out.String() + messages.String()
			if code == exit.Fault || strings.Contains(said, canary) || time.Since(began) > time.Minute {
				t.Errorf("%s: %v: exit code %d after %v\n%s", name, args, code, time.Since(began), said)
			}
			if name == "numeric.device" && (args[0] == "resume" || args[0] == "doctor" && len(args) == 2) &&
				!strings.Contains(said, "name it yourself") {
				t.Errorf("%s: %v:\n%s", name, args, said)
			}
			if after := contents(t, home); after != before {
				t.Fatalf("%s: %v changed what is outside", name, args)
			}
		}
		err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				var raw []byte
				if raw, err = os.ReadFile(path); bytes.Contains(raw, []byte(canary)) {
					t.Errorf("%s: %s holds what is outside", name, path)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 30 {
		t.Errorf("%d cases only", n)
	}
}

// contents is every name below a directory, with the content and the time of files.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		b.WriteString(path + "\n")
		if e.Type().IsRegular() {
			raw, rerr := os.ReadFile(path)
			info, ierr := e.Info()
			if err = errors.Join(rerr, ierr); err == nil {
				b.Write(raw)
				b.WriteString(info.ModTime().String())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
