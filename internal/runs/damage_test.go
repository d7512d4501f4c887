package runs

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/rundir"
)

// damage is something that can have happened to a run, and what the readers make of it.
type damage struct {
	name   string
	do     func(t *testing.T, dir string)
	state  State
	detail string // part of Run.Detail; "": there is none
	step   int64
	loss   float64
	why    string // part of the error; "": it can be told
	compar string // part of the note or the error of a comparison with a whole run
	review string // part of the error
	remove string // part of the error
}

func damages() []damage {
	file := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { write(t, filepath.Join(dir, name), text) }
	}
	gone := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, name := range names {
				check(t, os.RemoveAll(filepath.Join(dir, name)))
			}
		}
	}
	// log rewrites the lines of the log.
	log := func(change func(lines []string) string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { write(t, filepath.Join(dir, rundir.LogFile), change(logLines(t))) }
	}
	// link puts a link to a file outside of the run in the place of a file.
	link := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			outside := filepath.Join(t.TempDir(), "outside")
			check(t, os.Rename(filepath.Join(dir, name), outside))
			check(t, os.Symlink(outside, filepath.Join(dir, name)))
		}
	}
	all := []func(*testing.T, string){gone(rundir.ConfigFile), gone(rundir.LogFile), gone(rundir.Checkpoints)}
	unknown := "is not known"
	return []damage{
		{name: "nothing", do: func(*testing.T, string) {}, state: Interrupted, step: 20, loss: 2},
		{name: "killed", do: log(func(l []string) string { return strings.Join(l[:20], "\n") + "\n" }),
			state: Crashed, detail: "log.jsonl: it ends at step 15", step: 15, loss: 3},
		{name: "killed before its first evaluation", do: log(func(l []string) string { return l[0] + "\n" + l[2] }),
			state: Crashed, detail: "log.jsonl: it ends at step 1,", step: 1, compar: "no evaluation"},
		{name: "torn log", do: log(func(l []string) string { s := strings.Join(l[:20], "\n"); return s[:len(s)-30] }),
			state: Crashed, detail: "log.jsonl: it ends at step 15", step: 15, loss: 3},
		{name: "empty log", do: file(rundir.LogFile, ""), state: Crashed, detail: "log.jsonl: no record",
			step: 20, why: "no record", compar: "no evaluation"},
		{name: "log of something else", do: file(rundir.LogFile, "{\"kind\":\"event\"}\nhello\n{}\n[1]\n"),
			state: Crashed, detail: "log.jsonl: no record", step: 20, compar: "no evaluation"},
		{name: "binary log", do: file(rundir.LogFile, strings.Repeat("\x00\xff\n{\x00", 5000)), state: Crashed,
			detail: "log.jsonl: no record", step: 20, why: "no record", compar: "no evaluation"},
		{name: "no log", do: gone(rundir.LogFile), state: Crashed, detail: "no log.jsonl", step: 20,
			why: "no such file", compar: "no such file"},
		{name: "log is a directory", do: func(t *testing.T, dir string) {
			gone(rundir.LogFile)(t, dir)
			check(t, os.Mkdir(filepath.Join(dir, rundir.LogFile), 0o777))
		}, state: Crashed, detail: "not a regular file", step: 20, why: "not a regular file",
			compar: "not a regular file"},
		{name: "log is a link out of the run", do: link(rundir.LogFile), state: Crashed, detail: "it is a link",
			step: 20, why: "it is a link", compar: "it is a link"},
		{name: "garbled config", do: file(rundir.ConfigFile, "[train\nsteps = \x00"), state: Interrupted,
			detail: "config.toml:", step: 20, loss: 2},
		{name: "empty config", do: file(rundir.ConfigFile, ""), state: Interrupted, detail: "config.toml: empty",
			step: 20, loss: 2},
		{name: "no checkpoints", do: gone(rundir.Checkpoints), state: Interrupted, step: 20, loss: 2, compar: unknown},
		{name: "garbled marks", do: file("checkpoints/marks.json", "{"), state: Interrupted, step: 20, loss: 2,
			compar: "last evaluation"},
		{name: "damaged checkpoint", do: file("checkpoints/step-20/model.safetensors", "no"), state: Interrupted,
			step: 20, loss: 2, compar: unknown},
		{name: "checkpoint without state", do: file("checkpoints/step-20/state.json", ""), state: Interrupted, step: 20,
			loss: 2, compar: unknown},
		{name: "no samples", do: gone(rundir.Samples), state: Interrupted, step: 20, loss: 2, review: "no texts"},
		{name: "empty page", do: file("samples/eval-2.md", ""), state: Interrupted, step: 20, loss: 2},
		{name: "page is a link out of the run", do: link("samples/eval-2.md"), state: Interrupted, step: 20, loss: 2,
			review: "it is a link"},
		{name: "only a lock", do: func(t *testing.T, dir string) {
			for _, do := range all {
				do(t, dir)
			}
			gone(rundir.ReportFile, rundir.TokenizerFile, "samples/eval-1.md", "samples/eval-2.md")(t, dir)
		}, state: Broken, detail: "no checkpoint; no log.jsonl; no config.toml", why: "neither", compar: "no run",
			review: "no run"},
		{name: "nothing that can be read", do: func(t *testing.T, dir string) {
			all[2](t, dir)
			file(rundir.LogFile, "")(t, dir)
			file(rundir.ConfigFile, "")(t, dir)
		}, state: Broken, detail: "no checkpoint; log.jsonl: no record of a run; config.toml: empty",
			why: "no record", compar: "no evaluation"},
		{name: "nothing that can be read, and a stranger's file", do: func(t *testing.T, dir string) {
			all[2](t, dir)
			file(rundir.LogFile, "")(t, dir)
			file(rundir.ConfigFile, "title = \"my site\"")(t, dir)
			file("index.html", "")(t, dir)
		}, state: Broken, detail: "config.toml:", why: "no record", compar: "no evaluation",
			remove: `holds "index.html"`},
	}
}

// TestDamage: every reader copes with every damage, says what is wrong, and changes nothing.
func TestDamage(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	makeRun(t, whole)
	for _, tt := range damages() {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			makeRun(t, dir)
			tt.do(t, dir)
			before := tree(t, dir)

			list, err := List(filepath.Dir(dir))
			if err != nil || len(list) != 1 {
				t.Fatalf("%+v, %v", list, err)
			}
			r := list[0]
			if r.State != tt.state || r.Step != tt.step || float64(r.Loss) != tt.loss || r.Bytes == 0 ||
				!strings.Contains(r.Detail, tt.detail) || (tt.detail == "") != (r.Detail == "") {
				t.Errorf("%+v", r)
			}
			_, err = json.Marshal(list)
			wants(t, "json", err, "")

			timeline, err := Why(dir)
			wants(t, "why", err, tt.why)
			if err == nil {
				wants(t, "why", timeline.Write(&bytes.Buffer{}, dir), "")
			}
			comparison, err := Compare([]string{whole, dir})
			switch {
			case err != nil:
				wants(t, "compare", err, tt.compar)
			case tt.compar == "" && comparison.Note != "", !strings.Contains(comparison.Note, tt.compar):
				t.Errorf("compare: note %q, want %q", comparison.Note, tt.compar)
			}
			_, err = OpenPage(dir, 0)
			wants(t, "review", err, tt.review)
			if after := tree(t, dir); after != before {
				t.Errorf("reading changed the run:\n%s\nit was\n%s", after, before)
			}
			left, err := Remove(dir)
			wants(t, "remove", err, tt.remove)
			if _, serr := os.Lstat(dir); (err == nil && len(left) == 0) != errors.Is(serr, os.ErrNotExist) {
				t.Errorf("remove: %v, %v, and then %v", left, err, serr)
			}
		})
	}
}

// wants checks that an error has a text and is of the class of runs that cannot be read, or that there is none.
func wants(t *testing.T, what string, err error, text string) {
	t.Helper()
	switch {
	case text == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case text != "" && err == nil:
		t.Errorf("%s: no error, want %q", what, text)
	case text != "" && (!strings.Contains(err.Error(), text) || !errors.Is(err, rundir.ErrCheckpoint)):
		t.Errorf("%s: %v, want %q", what, err, text)
	}
}
