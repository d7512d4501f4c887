package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"gimbal/internal/runs"
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

// TestQuote wants the shell to take a path as it is.
func TestQuote(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("no sh here that commands are typed into")
	}
	for _, path := range []string{"runs/a", "it's", "a b", "$HOME", "-n", "*", `back\slash`, "é", `"`, "a;b", "~"} {
		out, err := exec.Command(sh, "-c", "printf %s "+runs.Quote(path)).Output()
		if got := filepath.Clean(string(out)); err != nil || got != path {
			t.Errorf("%q: %s gives %q, %v", path, runs.Quote(path), out, err)
		}
	}
	if got := runs.Quote("runs/a-1"); got != "runs/a-1" {
		t.Errorf("quoted for nothing: %s", got)
	}
}

// TestProgramName wants commands to be typed as the program was started.
func TestProgramName(t *testing.T) {
	t.Chdir(t.TempDir())
	built := "/tmp/go-build123/b001/exe/gimbal"
	for arg, want := range map[string]string{"gimbal": "gimbal", "./gimbal": "./gimbal", built: "gimbal",
		"../my bin/gimbal": runs.Quote("../my bin/gimbal")} {
		if got := programName(arg); got != want {
			t.Errorf("%s: %s, want %s", arg, got, want)
		}
	}
	if err := os.MkdirAll(filepath.Join("cmd", "gimbal"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("cmd", "gimbal", "main.go"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := programName(built); got != "go run ./cmd/gimbal" {
		t.Errorf("by go run: %s", got)
	}
}
