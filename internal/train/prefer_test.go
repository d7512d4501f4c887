package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/evaluate"
	"gimbal/internal/guard"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// preferences writes conversations, and pairs of answers to the same questions: people prefer the right number, or one
// of two words, whatever the question.
func preferences(t testing.TB, n int, words bool) (talks, pairs string) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	r := rand.New(rand.NewPCG(3, 4))
	var a, b strings.Builder
	for i := range n {
		x := 1 + r.IntN(8)
		good, bad := fmt.Sprint(x+1), fmt.Sprint(x-1)
		ask := fmt.Sprintf("%d after %d?", i, x)
		if r.IntN(2) == 0 {
			fmt.Fprintf(&a, `{"prompt":%q,"completion":%q}`+"\n", ask, good)
		} else {
			fmt.Fprintf(&a, `{"prompt":%q,"completion":%q}`+"\n", ask, bad)
		}
		if words {
			good, bad = "yes", "no"
		}
		fmt.Fprintf(&b, `{"prompt":%q,"chosen":%q,"rejected":%q}`+"\n", ask, good, bad)
	}
	dir := t.TempDir()
	talks, pairs = filepath.Join(dir, "talks.jsonl"), filepath.Join(dir, "pairs.jsonl")
	if err := errors.Join(os.WriteFile(talks, []byte(a.String()), 0o666),
		os.WriteFile(pairs, []byte(b.String()), 0o666)); err != nil {
		t.Fatal(err)
	}
	return talks, pairs
}

// preferring returns a model that answers, and the configuration of a run that teaches it to prefer.
func preferring(t testing.TB, words bool, settings ...string) (*Result, *config.Config) {
	t.Helper()
	talks, pairs := preferences(t, 240, words)
	of := func(path string, more ...string) *config.Config {
		sets := []config.Assignment{}
		for _, s := range append([]string{"data.paths=" + path, "data.val_fraction=0.2", "train.context=64",
			"train.micro_tokens=128", "eval.max_tokens=8", "judge.early_stop=off"}, more...) {
			sets = append(sets, config.Set(s))
		}
		cfg, err := config.Load("", sets)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	first := finished(t, of(talks, "tokenizer.kind=bytes", "model.layers=2", "model.width=32", "model.heads=2",
		"model.mlp=64", "train.batch_tokens=256", "train.steps=80", "optim.lr=0.003"), Options{})
	return first, of(pairs, append([]string{"train.objective=dpo", "train.batch_tokens=512", "train.steps=40",
		"optim.lr=0.002", "eval.every=10", "dpo.beta=0.5"}, settings...)...)
}

// A model learns which answers are preferred, beside the one that it began from. Cut off anywhere, on any number of
// workers, it is the same run.
func TestPreferences(t *testing.T) {
	for _, settings := range [][]string{{"train.micro_tokens=64"}, {"train.adapter=lora", "adapter.rank=4",
		"optim.lr=0.003"}} {
		t.Run(settings[0], func(t *testing.T) {
			first, cfg := preferring(t, false, settings...)
			dir := filepath.Join(t.TempDir(), "run")
			r := finished(t, cfg, Options{From: first.Dir, Out: dir})
			u := r.Tuned
			if u == nil || u.Pairs == 0 || math.Abs(u.Before-math.Ln2) > 1e-12 || u.AccuracyBefore != 0.5 {
				t.Fatalf("before step 1: %+v", u)
			}
			if !(u.After < 0.66 && u.AccuracyAfter > 0.65) {
				t.Errorf("it learned nothing: %+v", u)
			}
			log := readLog(t, dir)
			steps := runlog.All[runlog.Step](log)
			if p := steps[0].Pairs; p == nil || math.Abs(float64(steps[0].Loss)-math.Ln2) > 1e-12 || p.Margin != 0 ||
				p.Accuracy != 0.5 || p.ChosenReward != 0 || p.ChosenTokens != 3 {
				t.Errorf("step 1: %+v, %+v", steps[0], steps[0].Pairs)
			}
			if p := steps[39].Pairs; !(p.Margin > 0) || p.Margin-(p.ChosenReward-p.RejectedReward) > 1e-9 {
				t.Errorf("step 40: %+v", p)
			}
			evals := runlog.All[runlog.Eval](log)
			if e := evals[0]; float64(e.Metrics[evaluate.MetricPairLoss]) != u.Before ||
				e.Metrics[evaluate.MetricMargin] != 0 ||
				!(e.ValLoss > 0) {
				t.Errorf("evaluation 0: %+v", e)
			}
			for _, e := range runlog.All[runlog.Event](log) {
				if strings.HasPrefix(e.Code, "E") || strings.HasPrefix(e.Code, "A") {
					t.Errorf("%s at step %d: %s", e.Code, e.Step, e.Message)
				}
			}

			again := filepath.Join(t.TempDir(), "again")
			ctx, cancel := context.WithCancel(context.Background())
			hooks := Hooks{Plan: func(*plan.Plan, string, plan.Expected) { cancel() }} // before the reference
			_, err := Run(ctx, cfg, Options{Out: again, From: first.Dir, Hooks: hooks})
			if !errors.Is(err, ErrInterrupted) {
				t.Fatal(err)
			}
			name := filepath.Join(again, rundir.ReferenceFile)
			if err := os.WriteFile(name, []byte(`{"format":"gimbal-ref`), 0o666); err != nil { // of a kill
				t.Fatal(err)
			}
			for _, step := range []int64{3, 17} {
				interruptAfter(t, again, step, func(ctx context.Context, h Hooks) error {
					_, err := Resume(ctx, again, ResumeOptions{Hooks: h, Workers: int(step%2) + 1})
					return err
				})
			}
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for what, broken := range map[string][]byte{"is missing": nil,
				"is not the one": append([]byte(" "), raw...)} {
				os.Remove(name)
				if broken != nil {
					if err := os.WriteFile(name, broken, 0o666); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := Resume(context.Background(), again, ResumeOptions{}); !errors.Is(err, rundir.ErrResume) ||
					!strings.Contains(err.Error(), what) {
					t.Errorf("a reference that %s: %v", what, err)
				}
			}
			if err := os.WriteFile(name, raw, 0o666); err != nil {
				t.Fatal(err)
			}
			if _, err := Resume(context.Background(), again, ResumeOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := runlog.Identical(readLog(t, dir), readLog(t, again)); err != nil {
				t.Error(err)
			}
			if settings[0] == "train.micro_tokens=64" {
				sameRun(t, dir, again, 40)
			}
		})
	}
}

// The guard tells pairs that something simple tells apart, and what cannot be learned is refused in words.
func TestPreferencesAreWatched(t *testing.T) {
	first, cfg := preferring(t, true, "optim.lr=0.005", "train.batch_tokens=1024", "train.steps=12",
		"schedule.kind=constant")
	dir := filepath.Join(t.TempDir(), "run")
	finished(t, cfg, Options{From: first.Dir, Out: dir})
	if events := runlog.All[runlog.Event](readLog(t, dir)); !slices.ContainsFunc(events, func(e runlog.Event) bool {
		return e.Code == guard.CodePairsEasy
	}) {
		t.Errorf("events %v", events)
	}
	_, cfg = preferring(t, false, "train.steps=8")
	dir = filepath.Join(t.TempDir(), "run")
	finished(t, cfg, Options{From: first.Dir, Out: dir, Inject: []string{"nan-grad@5"}})
	log := readLog(t, dir)
	if r := runlog.All[runlog.Refused](log); len(r) != 1 || r[0].Step != 5 || len(runlog.All[runlog.Step](log)) != 8 {
		t.Errorf("a gradient that is not finite: %+v", r)
	}
	for what, opt := range map[string]struct {
		from string
		set  []string
	}{"name it with --from": {}, "reference without dropout": {first.Dir, []string{"model.dropout=0.1"}},
		"measures no preferences": {first.Dir, []string{"optim.lr=probe"}},
		"less than a pair of":     {first.Dir, []string{"train.micro_tokens=64", "train.batch_tokens=64"}}} {
		var err error
		c := cfg.Clone()
		for _, s := range opt.set {
			key, value, _ := strings.Cut(s, "=")
			if err == nil {
				err = errors.Join(set(c, key, value), c.Check())
			}
		}
		if err == nil {
			_, err = Run(context.Background(), c, Options{From: opt.from, Out: filepath.Join(t.TempDir(), "run")})
		}
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// set gives a key a value as it is written in a file.
func set(c *config.Config, key, value string) error {
	var v any = value
	switch key {
	case "model.dropout":
		v = 0.1
	case "train.batch_tokens", "train.micro_tokens":
		v = 64
	}
	return c.SetPlanned(key, v, "--set")
}
