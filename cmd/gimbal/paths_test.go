package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestPathBytes trains on a folder whose name, and that of a file in it, is not UTF-8, and goes on with the run.
func TestPathBytes(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	text := filepath.Join(dir, "x\xff\x1b[31m")
	if err := os.MkdirAll(text, 0o777); err != nil {
		t.Skipf("this file system takes no such name: %v", err)
	}
	files := map[string]string{"a\xe9.txt": "some text to learn from\n", "b\xff\x1b[1m.txt": "%PDF-1.4"}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(text, name), []byte(strings.Repeat(content, 50)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "run")
	tiny := []string{"--set", "tokenizer.kind=bytes", "--set", "model.layers=1", "--set", "model.width=16", "--set",
		"model.heads=1", "--set", "train.context=32", "--set", "train.batch_tokens=64", "--set", "eval.max_tokens=4"}
	for _, args := range [][]string{
		append([]string{"train", "-v", "--data", text, "--out", out, "--steps", "2"}, tiny...),
		{"resume", "-v", out, "--steps", "3"},
		append([]string{"data", "inspect", "--set", "data.paths=" + text}, tiny...),
	} {
		var stdout, stderr bytes.Buffer
		code := run(args, strings.NewReader(""), &stdout, &stderr)
		all := stdout.String() + stderr.String()
		if code != 0 || strings.Contains(all, "\x1b") || args[0] != "data" && !utf8.ValidString(stderr.String()) {
			t.Fatalf("%q ends with %d: %q", args, code, all)
		}
		if want := `1 PDF file ("b\xff\x1b[1m.txt")`; !strings.Contains(all, want) {
			t.Errorf("%q does not say %s: %s", args, want, all)
		}
	}
	config, err := os.ReadFile(filepath.Join(out, "config.toml"))
	if err != nil || !bytes.Contains(config, []byte(`x%FF%1B%5B31m"]`)) {
		t.Errorf("%v: %s", err, config)
	}
	log, err := os.ReadFile(filepath.Join(out, "log.jsonl"))
	if err != nil || !utf8.Valid(log) || strings.Contains(string(log), "�") {
		t.Errorf("%v: the log has lost bytes of a path", err)
	}
	sources, err := filepath.Glob(filepath.Join(dir, "cache", "gimbal", "*", "sources.json"))
	if err != nil || len(sources) != 1 {
		t.Fatal(sources, err)
	}
	if list, err := os.ReadFile(sources[0]); err != nil || !bytes.Contains(list, []byte("/x%FF%1B%5B31m/a%E9.txt\"")) {
		t.Errorf("%v: %s", err, list)
	}
}
