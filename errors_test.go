package gimbal

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// as wants err to be an E.
func as[E error](t *testing.T, err error) (e E) {
	t.Helper()
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T) is not a %T", err, err, e)
	}
	if !strings.Contains(err.Error(), e.Error()) {
		t.Errorf("%q hides %q", err, e)
	}
	return e
}

func TestConfigError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.toml")
	write(t, file, "[model]\nwidht = 128\n")
	opt := TrainOptions{Config: file, Steps: -1, Set: []string{"train.context=none", "nonsense"}, Inject: []string{"x"}}
	_, err := Train(t.Context(), opt)
	var got []string
	for _, f := range as[*ConfigError](t, err).Faults {
		if f.Message == "" {
			t.Errorf("%+v says nothing", f)
		}
		got = append(got, f.Where+" "+f.Key)
	}
	want := []string{"run.toml:2 model.widht", "flag --steps train.steps", "--set train.context", "--set nonsense"}
	if !slices.Equal(got, want) {
		t.Errorf("faults of %q, want %q", got, want)
	}
	opt = tinyRun(t)
	opt.Inject = []string{"nan-gard@3"}
	_, err = Check(t.Context(), opt)
	if f := as[*ConfigError](t, err).Faults; len(f) != 1 || f[0].Where != "flag --inject" {
		t.Errorf("a fault that is unknown: %+v", f)
	}
}

func TestDataError(t *testing.T) {
	opt := tinyRun(t)
	file := filepath.Join(t.TempDir(), "broken.jsonl")
	write(t, file, "{\"text\": \"good\"}\n{\"text\": \"bad\n")
	opt.Data = []string{file}
	_, err := Train(t.Context(), opt)
	if e := as[*DataError](t, err); e.Path != file || e.Line != 2 || e.Column < 1 {
		t.Errorf("%+v", e)
	}
	opt.Data = []string{"nowhere"}
	_, err = Check(t.Context(), opt)
	as[*DataError](t, err)

	m := openRandom(t, 48)
	path := m.Info().Path
	_, err = Evaluate(t.Context(), path, EvalOptions{})
	as[*DataError](t, err) // it is no run: there is nothing to measure it on
	_, err = m.Generate(t.Context(), strings.Repeat("x", 60), GenerateOptions{})
	if e := as[*PromptError](t, err); e.Tokens != 61 || e.Context != 48 {
		t.Errorf("%+v", e)
	}
}

func TestCheckpointError(t *testing.T) {
	dir := t.TempDir()
	for what, do := range map[string]func() error{
		"open":     func() error { _, err := Open(dir, OpenOptions{}); return err },
		"resume":   func() error { _, err := Resume(t.Context(), dir, ResumeOptions{}); return err },
		"check":    func() error { _, err := CheckRun(t.Context(), dir, ResumeOptions{}); return err },
		"evaluate": func() error { _, err := Evaluate(t.Context(), dir, EvalOptions{}); return err },
		"export":   func() error { _, err := Export(t.Context(), dir, dir+"-out", ExportOptions{}); return err },
		"import":   func() error { _, err := Import(t.Context(), dir, ImportOptions{Out: dir + "-in"}); return err },
		"train": func() error {
			opt := tinyRun(t)
			opt.From = dir
			_, err := Train(t.Context(), opt)
			return err
		},
	} {
		if e := as[*CheckpointError](t, do()); e.Path != dir {
			t.Errorf("%s: %+v", what, e)
		}
	}
	_, err := Compare(dir, dir)
	as[*CheckpointError](t, err)
	m := openRandom(t, 16)
	weights := filepath.Join(m.Info().Path, "model.safetensors")
	raw, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	write(t, weights, string(raw))
	_, err = Open(m.Info().Path, OpenOptions{})
	as[*CheckpointError](t, err)
}

// TestRunErrors: a run is worked on by one process, and its directory taken once.
func TestRunErrors(t *testing.T) {
	opt := tinyRun(t)
	var locked error
	opt.Progress = func(p Progress) {
		if s, ok := p.(Step); ok && s.Step == 1 {
			_, locked = Resume(t.Context(), opt.Out, ResumeOptions{})
		}
	}
	if _, err := Train(t.Context(), opt); err != nil {
		t.Fatal(err)
	}
	if as[*CheckpointError](t, locked); !errors.Is(locked, ErrLocked) {
		t.Errorf("resumed while it trains: %v", locked)
	}
	if _, err := Train(t.Context(), opt); !errors.Is(err, ErrExists) {
		t.Errorf("trained twice into one directory: %v", err)
	}
	if runtime.GOOS != "linux" { // there the free memory is not known
		return
	}
	opt.Out += "-large"
	opt.Set = append(opt.Set, "model.width=65536", "model.layers=64")
	if _, err := Check(t.Context(), opt); !errors.Is(err, ErrMemory) {
		t.Errorf("a model of 10^12 parameters: %v", err)
	}
}

// TestStopError: what comes back after every rewind makes the guard end the run.
func TestStopError(t *testing.T) {
	opt := tinyRun(t)
	opt.Steps = 260
	opt.Set = append(opt.Set, "schedule.warmup=20", "optim.lr=0.003", "checkpoint.every=20", "eval.every=1000",
		"tokenizer.kind=bytes", "model.layers=2", "model.heads=2", "model.mlp=32", "train.batch_tokens=256",
		"train.micro_tokens=128", "numeric.mode=fp32")
	var text strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	word := func(words string) string { list := strings.Fields(words); return list[r.IntN(len(list))] + " " }
	for range 600 {
		text.WriteString(word("ann bob eve") + word("sees feeds") + word("2 3 4 5") + word("cats. dogs."))
	}
	write(t, opt.Data[0], text.String())
	opt.Inject = []string{"poison-batches@80", "poison-batches@150", "poison-batches@220"}
	var events []Event
	opt.Progress = func(p Progress) {
		if e, ok := p.(Event); ok {
			events = append(events, e)
		}
	}
	res, err := Train(t.Context(), opt)
	e := as[*StopError](t, err)
	if e.Code != "E3-DIVERGED" || e.Step < 200 || e.Reason == "" || res == nil || res.Reason != "stopped: "+e.Code {
		t.Fatalf("%+v, %+v, events %v", e, res, events)
	}
	if last := events[len(events)-1]; last.Code != e.Code || last.Severity != "error" || !last.Injected ||
		!strings.HasPrefix(last.String(), "E3-DIVERGED at step ") {
		t.Errorf("the last event is %+v: %v", last, last)
	}
	list, err := Runs(filepath.Dir(opt.Out))
	if err != nil || len(list) != 1 || list[0].State != RunStopped || list[0].Code != e.Code {
		t.Errorf("the run is listed as %+v, %v", list, err)
	}
}
