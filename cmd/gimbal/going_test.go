package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"

	"gimbal/internal/durable"
	"gimbal/internal/exit"
)

// smallest are the settings of a run that takes a moment.
var smallest = []string{"--set", "tokenizer.kind=bytes", "--set", "model.layers=1", "--set", "model.width=16",
	"--set", "model.heads=1", "--set", "train.context=16", "--set", "train.batch_tokens=64", "--set", "eval.max_tokens=4"}

// texts writes files of one sentence each, and goes to the folder that holds them.
func texts(t *testing.T, files int) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if err := os.Mkdir("texts", 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		text := strings.Repeat(fmt.Sprintf("file %d has %d words of its own, and no more. ", i, i*i), 3)
		if err := os.WriteFile(filepath.Join("texts", fmt.Sprintf("%03d.txt", i)), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// gimbals runs the program and wants an exit code.
func gimbals(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, messages bytes.Buffer
	if got := run(args, strings.NewReader(""), &out, &messages); got != want {
		t.Fatalf("%s: exit code %d, want %d\n%s%s", args, got, want, out.String(), messages.String())
	}
	return out.String(), messages.String()
}

// broken is a writer that fails.
type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

// A result that could not be written is an error of every command, in every form.
func TestNoResultIsLostInSilence(t *testing.T) {
	texts(t, 30)
	train := append([]string{"train", "--data", "texts", "--steps", "4"}, smallest...)
	gimbals(t, 0, append(train, "--out", "a")...)
	gimbals(t, 0, append(train, "--out", "b", "--seed", "2")...)
	gimbals(t, 0, "export", "a", "model")
	in := append([]string{"--data", "texts"}, smallest...)
	bench := []string{"--model", "nano", "--tokens", "64", "--context", "16", "--steps", "1"}
	lines := [][]string{
		append(train, "--out", "c"), append(train, "--out", "d", "--json"), append(train, "--dry-run"),
		append(train, "--dry-run", "--json"), {"resume", "a", "--steps", "6"}, {"resume", "a", "--steps", "8", "--json"},
		{"sample", "a", "-n", "1"}, {"sample", "a", "--json"}, {"chat", "a"}, {"eval", "a", "--loss-only"}, {"eval",
			"a", "--json"},
		{"review", "a", "--list"}, {"review", "a", "--json"}, {"compare", "a", "b"}, {"compare", "a", "b", "--json"},
		{"why", "a"}, {"why", "a", "--json"}, {"runs", "list", "."}, {"runs", "list", "."}, {"runs", "rm", "b", "--yes"},
		{"doctor", "a"}, {"doctor", "a", "--json"},
		{"checkpoint", "a"}, {"checkpoint", "list", "a", "--json"}, {"checkpoint", "verify", "a"},
		{"checkpoint", "prune", "a"}, append([]string{"data", "inspect"}, in...), {"data", "inspect", "a"},
		append([]string{"data", "stats"}, in...), append([]string{"data", "stats", "--json"}, in...),
		{"data", "cache"}, {"data", "cache", "--json"}, {"import", "model"}, {"import", "model", "--out", "m", "--json"},
		{"export", "a", "again"}, {"export", "a", "more", "--json"},
		{"bench", "kernels", "--seconds", "0.001", "--only", "peak fma"}, append([]string{"bench", "train"}, bench...),
		{"bench", "generate", "--model", "nano", "--texts", "1", "--tokens", "2", "--rounds", "1"},
		{"bench", "tokenizer", "--data", "texts", "--vocab", "260", "--seconds", "0.001"},
		{"device", "list"}, {"device", "list", "--json"},
		{"version"}, {"--version"}, {"completion", "bash"}, {"complete", "tr"}, {"help"}, {"help", "train"}, {"--help"},
		{"train", "--help"}, {"-q", "help", "data"},
	}
	covered := map[string]bool{"device check": true} // it needs a plugin; bench/device tries it
	for _, line := range lines {
		var messages bytes.Buffer
		full := broken{fmt.Errorf("write: %w", syscall.ENOSPC)}
		if code := run(line, strings.NewReader("hi\n"), full, &messages); code != exit.Error ||
			!strings.Contains(messages.String(), "gimbal: error: ") {
			t.Errorf("%s: exit code %d\n%s", line, code, messages.String())
		}
		covered[strings.Join(line[:1], " ")], covered[strings.Join(line[:min(2, len(line))], " ")] = true, true
	}
	var c cli
	for _, leaf := range kong.Must(&c, kong.Vars{"top_k": "", "temperature": "0", "max_tokens": "0", "which": ""},
		kong.NoDefaultHelp()).Model.Leaves(false) {
		if name := leaf.Path(); !covered[strings.TrimPrefix(name, leaf.Parent.Name+" ")] && !covered[leaf.Name] &&
			!covered[leaf.Parent.Name+" "+leaf.Name] {
			t.Errorf("nothing tries %s", name)
		}
	}
}

// A run goes on where nobody reads what it says: its log records that, and it is no error.
func TestARunOutlivesItsReaders(t *testing.T) {
	texts(t, 30)
	for name, err := range map[string]error{"pipe": syscall.EPIPE, "terminal": syscall.EIO} {
		line := append([]string{"train", "--data", "texts", "--steps", "4", "--out", name}, smallest...)
		if code := run(line, strings.NewReader(""), broken{err}, broken{err}); code != 0 {
			t.Errorf("%s: exit code %d", name, code)
		}
		log, rerr := os.ReadFile(filepath.Join(name, "log.jsonl"))
		if rerr != nil || strings.Count(string(log), `"F-OUTPUT-LOST"`) != 1 || !strings.Contains(string(log), `"done"`) {
			t.Errorf("%s: %v\n%s", name, rerr, log)
		}
	}
	// On a full disk only the result is lost.
	line := append([]string{"train", "--data", "texts", "--steps", "4", "--out", "full"}, smallest...)
	if code := run(line, strings.NewReader(""), broken{syscall.ENOSPC}, broken{syscall.ENOSPC}); code != exit.Error {
		t.Errorf("a full disk: exit code %d", code)
	}
	if _, err := os.Stat("full/checkpoints/step-4"); err != nil {
		t.Error(err)
	}
}

// explosive is a writer that shows what a fault of the program does.
type explosive struct{}

func (explosive) Write([]byte) (int, error) { panic(errors.New("planted")) }

// A panic has an exit code of its own, and says what to do.
func TestPanicHasItsOwnCode(t *testing.T) {
	var messages bytes.Buffer
	if code := run([]string{"version"}, nil, explosive{}, &messages); code != exit.Fault {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"the program is wrong here: planted", "explosive", "report this", "gimbal resume"} {
		if !strings.Contains(messages.String(), want) {
			t.Errorf("no %q in\n%s", want, messages.String())
		}
	}
}

// A batch is the one that the log of the run has under its number, also after a batch was left out.
func TestInspectShowsTheBatchOfTheLog(t *testing.T) {
	texts(t, 14)
	line := append([]string{"train", "--data", "texts", "--steps", "130", "--out", "r", "--inject", "loss-spike@90",
		"--inject", "nan-grad@120"}, smallest...)
	gimbals(t, 0, line...)
	saved, err := filepath.Glob("r/refused/batch-*.json")
	if err != nil || len(saved) != 2 {
		t.Fatalf("refused %v, %v", saved, err)
	}
	same := 0
	for _, path := range saved {
		var refused struct {
			Batch     int64
			Documents []string
		}
		raw, err := os.ReadFile(path)
		if err := errors.Join(err, json.Unmarshal(raw, &refused)); err != nil {
			t.Fatal(err)
		}
		shown, _ := gimbals(t, 0, "data", "inspect", "r", "--batch", fmt.Sprint(refused.Batch), "-n", "0")
		var names []string
		for _, l := range strings.Split(shown, "\n") {
			if _, after, ok := strings.Cut(l, ": "); ok && strings.HasPrefix(l, "--- ") {
				names = append(names, strings.Split(after, ",")[0])
			}
		}
		for i, name := range refused.Documents {
			if i >= len(names) || names[i] != strings.Split(name, ",")[0] {
				t.Fatalf("batch %d is shown as %v, and was %v", refused.Batch, names, refused.Documents)
			}
		}
		if len(names) != len(refused.Documents) {
			t.Errorf("batch %d is shown with %d sequences, and had %d", refused.Batch, len(names), len(refused.Documents))
		}
		flags := append([]string{"data", "inspect", "--data", "texts", "--batch", fmt.Sprint(refused.Batch), "-n", "0"},
			smallest...)
		if plain, _ := gimbals(t, 0, flags...); plain == shown {
			same++
		}
	}
	if same != 1 {
		t.Errorf("%d of 2 batches are those of a run that leaves nothing out: the test says nothing", same)
	}
	gimbals(t, 2, "data", "inspect", "r", "--batch", "0")
	gimbals(t, 2, "data", "inspect", "r", "--data", "texts")
	gimbals(t, 5, "data", "inspect", "nowhere")
}

// What others wrote acts on no face, also where a command forgets to escape it.
func TestNothingOfOthersActs(t *testing.T) {
	// A run that belongs to somebody, in every command that reads it.
	dir := filepath.Join(t.TempDir(), "run\x1b[2J\u202e")
	for name, text := range map[string]string{
		"config.toml": "[train]\nsteps = \"\x1b[2J\"\n",
		"log.jsonl":   `{"kind":"event","step":1,"attempt":1,"code":"\u001b[2J","severity":"error","message":"x\u001b]0;t\u0007\r\u202e"}` + "\n",
		"samples/eval-1.md": "# Evaluation 1, step 1\n\n## 1 of 1: \x1b[2J\r\n\n    text " +
			"\x1b[2J\u202e\r\n\n- [ ] good\n",
		"checkpoints/marks.json":  "{\"\x1b[2J\": 1}",
		"checkpoints/step-1/\x1b": "",
	} {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o777), os.WriteFile(at, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"why", dir}, {"why", dir, "--json"}, {"runs", filepath.Dir(dir)}, {"runs",
		"--json", filepath.Dir(dir)},
		{"review", dir}, {"review", dir, "--json"}, {"compare", dir, dir}, {"sample", dir}, {"eval", dir}, {"chat",
			dir},
		{"resume", dir}, {"data", "show", dir}, {"export", dir, filepath.Join(t.TempDir(), "out")}, {"doctor", dir},
		{"train", "--config", filepath.Join(dir, "config.toml")}, {"sample", dir, "--checkpoint",
			"\x1b[2J"}, {"\x1b[2J"}} {
		var stdout, stderr bytes.Buffer
		run(args, strings.NewReader(""), &stdout, &stderr)
		for face, text := range map[string]string{"results": stdout.String(), "messages": stderr.String()} {
			if strings.ContainsAny(text, "\x1b\r\u009b\u202e\x07") {
				t.Errorf("%q, %s: %q", args, face, text)
			}
		}
	}
}

// Removing caches leaves those that are being made, and a number of days means that many, however large it is.
func TestRemoveCaches(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", base)
	t.Setenv("HOME", base)
	whole := strings.Repeat("0a", 16)
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "gimbal")
	if err := os.MkdirAll(filepath.Join(dir, whole), 0o777); err != nil {
		t.Fatal(err)
	}
	made, held, err := durable.Unfinished(durable.OS, dir, whole)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	made = filepath.Base(made)
	for _, c := range []struct {
		days string
		want []string
	}{{"9223372036854775807", []string{whole, made}}, {"106752", []string{whole, made}}, {"0", []string{made}}} {
		var out, messages bytes.Buffer
		if code := run([]string{"data", "cache", "--remove", c.days}, nil, &out, &messages); code != 0 {
			t.Fatalf("%s days: %d, %s", c.days, code, messages.String())
		}
		for _, name := range []string{whole, made} {
			if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != slices.Contains(c.want, name) {
				t.Errorf("%s days: %s: %v", c.days, name, err)
			}
		}
	}
}
