package runs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/rundir"
)

// changeLog replaces a text in the log of a run.
func changeLog(t *testing.T, dir, old, new string) {
	t.Helper()
	name := filepath.Join(dir, rundir.LogFile)
	raw, err := os.ReadFile(name)
	check(t, err)
	if !strings.Contains(string(raw), old) {
		t.Fatalf("no %q in the log", old)
	}
	write(t, name, strings.ReplaceAll(string(raw), old, new))
}

// TestCompareAsJSON pins the fields of a comparison, and which differences are real: that of the loss is, for its
// intervals do not touch, and that of rep4 is not.
func TestCompareAsJSON(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "a")
	makeRun(t, filepath.Join(rundir.Parent, "b"))
	b := filepath.Join(rundir.Parent, "b")
	changeLog(t, b, `"val_loss":2,"bits_per_byte":1,`, `"val_loss":1.9,"bits_per_byte":0.95,`)
	changeLog(t, b, `"rep4":0.5,`, `"rep4":0.55,`)
	c, err := Compare([]string{"a", "b"})
	check(t, err)
	got, err := json.Marshal(c)
	check(t, err)
	baseline := `"baseline":{"order":5,"loss":2.5,"bits_per_byte":0,"unigram_loss":0,"unigram_bits_per_byte":0,` +
		`"train_tokens":0,"tokens":0}`
	want := `{"runs":[` +
		`{"dir":"a","step":20,"chosen":true,"parameters":1000,` + baseline + `},` +
		`{"dir":"runs/b","step":20,"chosen":true,"parameters":1000,` + baseline + `}],` +
		`"rows":[` +
		`{"metric":"val_loss","values":[` +
		`{"value":2,"lo":1.99,"hi":2.01,"human":"NaN","real":false},` +
		`{"value":1.9,"lo":1.99,"hi":2.01,"human":"NaN","real":true}]},` +
		`{"metric":"bits_per_byte","values":[` +
		`{"value":1,"lo":0.995,"hi":1.005,"human":"NaN","real":false},` +
		`{"value":0.95,"lo":0.995,"hi":1.005,"human":"NaN","real":true}]},` +
		`{"metric":"rep4","values":[` +
		`{"value":0.5,"lo":0.4,"hi":0.6,"human":0.1,"real":false},` +
		`{"value":0.55,"lo":0.4,"hi":0.6,"human":0.1,"real":false}]}]}`
	if string(got) != filepath.ToSlash(want) {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestCompareNotes: other tokenizers and other text are said, and a loss in other tokens is never really another.
func TestCompareNotes(t *testing.T) {
	tests := []struct {
		data, tokens, note string
		real               bool
	}{
		{"data", "tokens", "", true},
		{"other", "tokens", "different text", true},
		{"other", "other", "different tokenizers", false},
	}
	for _, tt := range tests {
		a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
		makeRun(t, a)
		makeRun(t, b)
		check(t, os.RemoveAll(rundir.CheckpointsOf(b)))
		saveState(t, b, 10, tt.data, tt.tokens) // the stable checkpoint is an older one
		c, err := Compare([]string{a, b})
		check(t, err)
		if !strings.Contains(c.Note, tt.note) || (c.Note == "") != (tt.note == "") {
			t.Errorf("%+v: note %q", tt, c.Note)
		}
		if loss := c.Rows[0].Values[1]; loss.Value != 3 || loss.Real != tt.real || c.Runs[1].Step != 10 {
			t.Errorf("%+v: %+v", tt, loss)
		}
	}
}

// TestCompareWithout: a run that has no evaluation stands beside others without values, but not beside one other.
func TestCompareWithout(t *testing.T) {
	a, b, none := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "none")
	for _, dir := range []string{a, b, none} {
		makeRun(t, dir)
	}
	changeLog(t, none, `"kind":"eval"`, `"kind":"other"`)
	c, err := Compare([]string{a, none, b})
	check(t, err)
	if !strings.Contains(c.Note, none+" has no evaluation yet") {
		t.Errorf("note %q", c.Note)
	}
	for _, row := range c.Rows {
		if row.Values[0].Missing || !row.Values[1].Missing || row.Values[1].Real || row.Values[2].Missing {
			t.Errorf("%+v", row)
		}
	}
	_, err = Compare([]string{a, none})
	wants(t, "two runs", err, none+" has no evaluation yet")
	_, err = Compare([]string{a, filepath.Dir(a)})
	wants(t, "a folder", err, "is no run")
}
