package plan

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/engine"
)

// values are what a key may be set to: the ends of ranges, values beside them, and names.
var values = []string{
	"auto", "0", "1", "2", "3", "4", "7", "8", "10", "16", "31", "64", "257", "500", "1000", "4096", "65536",
	"1048576", "268435456", "1e6", "1000000000000", "1000000000000000000", "9223372036854775807", "0.5", "0.1", "0.999999",
	"1e-6", "1e-12", "1e-300", "1e9", "true", "false", "article", "article-literal", "probe", "bytes", "chars", "bpe",
	"eos",
	"bos", "none",
	"fp32", "bf16", "attention", "block", "act", "observe", "probation", "sound", "off", "loss", "stop", "skip",
	"cosine-restarts", "cosine", "linear", "wsd", "constant", "qwen3", "llama", "qwen2", "gpt2", "[10,20]", "[3,4,7,9]",
	"\n", "nano", "micro", "char-10m",
	"gpt2-124m", "names", "ignore", "before_end", "end", "gbk", "text=a", "model", "builtin", "lm", "dpo",
	"moments", "parameters", "s3://b/p"}

// taken are the values that each key takes, one at a time.
func taken(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, key := range config.Keys() {
		switch key { // files
		case "data.paths", "data.weights", "tokenizer.path", "judge.encoder":
			continue
		}
		for _, v := range values {
			if _, err := config.Load("", []config.Assignment{config.Set(key + "=" + v)}); err == nil {
				all[key] = append(all[key], v)
			}
		}
		if len(all[key]) == 0 {
			t.Errorf("%s takes none of the values", key)
		}
	}
	return all
}

// panics returns what f panics with, and where; "": it does not.
func panics(f func()) (what string) {
	defer func() {
		if v := recover(); v != nil {
			what = fmt.Sprintf("%v\n%s", v, debug.Stack())
		}
	}()
	f()
	return ""
}

// drawn plans random configurations on one text, and returns the first that panics, and how many were planned.
func drawn(t *testing.T, r *rand.Rand, opener engine.Opener, times int) (fault string, planned int) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir, all := t.TempDir(), taken(t)
	text := strings.Repeat("ab ba\n", 800)
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	keys := config.Keys()
	base := []config.Assignment{config.Set("data.paths=" + dir), config.Set("tokenizer.kind=bytes"),
		config.Set("model.layers=1"), config.Set("model.width=16"), config.Set("train.batch_tokens=64"),
		config.Set("train.context=16"), config.Set("train.steps=100")}
	cfg, err := config.Load("", base)
	if err != nil {
		t.Fatal(err)
	}
	shared := draft(t, cfg)
	for i := range times {
		sets := append(slices.Clone(base), config.Set(fmt.Sprintf("train.context=%d", 1+r.IntN(64))))
		for range 1 + r.IntN(4) {
			key := keys[r.IntN(len(keys))]
			if list := all[key]; len(list) > 0 {
				sets = append(sets, config.Set(key+"="+list[r.IntN(len(list))]))
			}
		}
		fault := panics(func() {
			cfg, err := config.Load("", sets)
			if err != nil {
				return
			}
			set := shared.Text.Set
			d := &Draft{Config: cfg, Text: &data.Text{Docs: shared.Text.Docs, Tok: shared.Text.Tok, Set: set,
				Train: set.Train(cfg.Train.Context), Val: set.Val(cfg.Train.Context)}}
			if i%20 == 0 { // the text as well
				if d, err = OpenText(context.Background(), cfg, TextOptions{Workers: 1}); err != nil {
					return
				}
				defer d.Close()
			}
			p, err := d.Make(context.Background(), Request{Opener: opener, Dry: true,
				Engine: func(engine.Spec) (engine.Engine, error) { return nil, io.EOF }})
			if err != nil {
				return
			}
			planned++
			p.Write(io.Discard)
			s := p.Rate.Schedule
			for _, step := range []int64{1, 2, s.Warmup, s.Warmup + 1, s.Steps - 1, s.Steps, 1 + r.Int64N(s.Steps)} {
				if lr := p.RateAt(max(1, step)); !(lr > 0 && lr <= s.Peak) {
					panic(fmt.Sprintf("step %d: rate %g", step, lr))
				}
			}
			if p.Memory.Total() <= 0 || p.Writing.SampleSize <= 0 || p.EvalEvery() <= 0 || p.Tokens() <= 0 ||
				math.IsNaN(p.Writing.Share) {
				panic(fmt.Sprintf("a number that no plan has: %+v, %+v", p.Memory, p.Writing))
			}
		})
		if fault != "" {
			return fmt.Sprintf("%v\n%s", sets, fault), planned
		}
	}
	return "", planned
}

// Whatever a configuration asks for within the ranges of its keys is planned or refused, and is no panic.
func TestNoConfigurationPanics(t *testing.T) {
	opener, err := engine.CPU(1)
	if err != nil {
		t.Fatal(err)
	}
	defer opener.Close()
	fault, planned := drawn(t, rand.New(rand.NewPCG(1, 2)), opener, 2000)
	if fault != "" {
		t.Error(fault)
	}
	if planned < 500 {
		t.Errorf("only %d of the configurations could be planned", planned)
	}
}

// touchy is an engine with a planted mistake: it divides by what is left of the context behind a prompt.
type touchy struct{ machine }

func (t touchy) Estimate(s engine.Spec) engine.Memory {
	return engine.Memory{Model: int64(1000 / (s.Arch.Context - 1))}
}

// The draws find a mistake that one rare value shows.
func TestDrawsFindAPanic(t *testing.T) {
	if fault, _ := drawn(t, rand.New(rand.NewPCG(1, 2)), touchy{}, 3000); !strings.Contains(fault, "divide by zero") {
		t.Errorf("found %q", fault)
	}
}
