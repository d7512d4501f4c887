package gimbal_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// outside is a program of another module.
const outside = `package main

import (
	"context"
	"errors"
	"fmt"

	"gimbal"
)

func main() {
	ctx := context.Background()
	res, err := gimbal.Train(ctx, gimbal.TrainOptions{Data: []string{"main.go"}, Steps: 2, Out: "run", Set: []string{
		"tokenizer.kind=bytes", "model.layers=1", "model.width=16", "train.context=32", "train.batch_tokens=64",
		"eval.prompts=1", "eval.samples=1", "eval.max_tokens=2"}})
	if err != nil {
		panic(err)
	}
	m, err := gimbal.Open("run", gimbal.OpenOptions{})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	n := 0
	for _, err := range m.Stream(ctx, "func", gimbal.GenerateOptions{MaxTokens: 3}) {
		if err != nil {
			panic(err)
		}
		n++
	}
	_, err = gimbal.Open("nowhere", gimbal.OpenOptions{})
	var missing *gimbal.CheckpointError
	fmt.Println(res.Step, n, errors.As(err, &missing) && missing.Path == "nowhere")
}
`

// TestOutside builds and runs a program of another module, both ways that the README names. It needs no network: what
// this module requires is there, with its sums.
func TestOutside(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for way, commands := range map[string][]string{
		"replace": {"go mod init example.com/outside", "go mod edit -replace gimbal=" + here, "go mod tidy"},
		"go.work": {"go mod init example.com/outside", "go work init . " + here},
	} {
		t.Run(way, func(t *testing.T) {
			dir := t.TempDir()
			sums, err := os.ReadFile("go.sum")
			if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o666),
				os.WriteFile(filepath.Join(dir, "main.go"), []byte(outside), 0o666)); err != nil {
				t.Fatal(err)
			}
			for _, c := range commands {
				command(t, dir, strings.Fields(c)...)
			}
			if out := command(t, dir, "go", "run", "."); !strings.HasPrefix(out, "2 3 true") {
				t.Errorf("the program prints %q", out)
			}
		})
	}
}

// TestRename gives a copy of the module another path.
func TestRename(t *testing.T) {
	if testing.Short() {
		t.Skip("checks a copy of the module")
	}
	for _, tool := range []string{"bash", "perl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	command(t, dir, filepath.Join(dir, ".ci", "rename"), "example.com/new/name")
	list := command(t, dir, "go", "list", "-deps", "-test", "./...")
	if n := strings.Count(list, "example.com/new/name/internal/"); n < 20 || strings.Contains(list, "\ngimbal") {
		t.Errorf("%d packages have the new path, of\n%s", n, list)
	}
}

// command runs a command in dir without a network, and returns what it prints. It skips the test where a module is not
// here: go mod tidy wants those, too, that only tests of other modules import.
func command(t *testing.T, dir string, words ...string) string {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=", "XDG_CACHE_HOME="+t.TempDir(),
		"GOCACHE="+goCache(t))
	out, err := cmd.CombinedOutput()
	if err != nil && bytes.Contains(out, []byte("module lookup disabled by GOPROXY=off")) {
		t.Skipf("%v: a module is not in the cache:\n%s", words, out)
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s", words, err, out)
	}
	return string(out)
}

// goCache is the build cache, which XDG_CACHE_HOME would move.
func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
