package train

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// A run from before the keys of the split goes on with the split that it had: its file does not name them. The new
// rules would decide otherwise for a text with a test beside it, and for a single text.
func TestResumeOfAnOlderRun(t *testing.T) {
	for _, files := range [][]string{{"train.txt"}, {"train.txt", "test.txt"}} {
		cfg := tiny(t, "data.splits=ignore", "data.val_from=end", "train.steps=8")
		if err := cfg.SetPlanned("data.paths", []string{texts(t, cfg.Data.Paths[0], files)}, "test"); err != nil {
			t.Fatal(err)
		}
		whole := finished(t, cfg, Options{}).Dir
		dir := filepath.Join(t.TempDir(), "run")
		interruptAfter(t, dir, 3, func(ctx context.Context, h Hooks) error {
			_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h})
			return err
		})
		name := filepath.Join(dir, rundir.ConfigFile)
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var older strings.Builder
		for line := range strings.Lines(string(file)) {
			if !strings.HasPrefix(line, "splits = ") && !strings.HasPrefix(line, "val_from = ") {
				older.WriteString(line)
			}
		}
		if err := os.WriteFile(name, []byte(older.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Resume(context.Background(), dir, ResumeOptions{}); err != nil {
			t.Fatal(err)
		}
		sameRun(t, whole, dir, 8)
		for _, r := range runlog.All[runlog.Resume](readLog(t, dir)) {
			if r.Process.Reason != "continue" {
				t.Errorf("resumed for %q: the hash of the configuration has changed", r.Process.Reason)
			}
		}
	}
}

// texts writes files with the documents in a folder, and returns theirs.
func texts(t *testing.T, folder string, files []string) string {
	t.Helper()
	dir := t.TempDir()
	documents, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range files {
		var all []byte
		for k := i; k < len(documents); k += len(files) {
			text, err := os.ReadFile(documents[k])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, text...)
		}
		if err := os.WriteFile(filepath.Join(dir, name), all, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
