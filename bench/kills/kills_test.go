package main

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"
)

// The short form: a trial of each scenario, or as many as a minute allows.
func TestKills(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and kills programs")
	}
	t.Chdir("..") // where the command is run
	out := filepath.Join(t.TempDir(), "results.json")
	var log bytes.Buffer
	if err := run(t.Context(), []string{"-kills", "14", "-for", time.Minute.String(), "-out", out}, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	b, err := openBook(out)
	if err != nil {
		t.Fatal(err)
	}
	for key, r := range b.Trials {
		for _, wrong := range r.Wrong {
			t.Errorf("%s: %s", key, wrong)
		}
	}
	if b.kills() < 3 {
		t.Errorf("only %d kills", b.kills())
	}
}
