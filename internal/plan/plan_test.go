package plan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/judge"
)

// machine is hardware that is written down. Its engines cannot be opened.
type machine struct {
	hw    engine.Hardware
	model func(engine.Spec) int64 // bytes
}

func (m machine) Hardware() engine.Hardware { return m.hw }

func (m machine) Estimate(s engine.Spec) engine.Memory {
	if m.model == nil {
		return engine.Memory{Model: 1 << 20}
	}
	return engine.Memory{Model: m.model(s)}
}
func (m machine) Open(engine.Spec) (engine.Engine, error) { return nil, errors.New("not to be opened") }
func (m machine) SelfTest(engine.Spec) string             { return "" }
func (m machine) Close()                                  {}

// asked is a configuration of a small run on a text of its own.
func asked(t *testing.T, settings ...string) *config.Config {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	for i := range 40 {
		text := strings.Repeat(fmt.Sprintf("the %d cats sat on mat %d. ", i%7, i), 8)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.txt", i)), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var sets []config.Assignment
	for _, s := range append([]string{"data.paths=" + dir, "data.val_fraction=0.2", "tokenizer.kind=bytes",
		"model.layers=2", "model.width=16", "train.context=32", "train.batch_tokens=256", "train.steps=100",
		"optim.lr=0.001"}, settings...) {
		sets = append(sets, config.Set(s))
	}
	cfg, err := config.Load("", sets)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func draft(t *testing.T, cfg *config.Config) *Draft {
	t.Helper()
	d, err := OpenText(context.Background(), cfg, TextOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func made(t *testing.T, m machine, settings ...string) *Plan {
	t.Helper()
	p, err := draft(t, asked(t, settings...)).Make(context.Background(), Request{Opener: m})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What was asked for is not written to, and in the plan every key has a value and says where it came from.
func TestRequestIsNotWrittenTo(t *testing.T) {
	cfg := asked(t)
	before := string(cfg.TOML())
	d := draft(t, cfg)
	p, err := d.Make(context.Background(), Request{Opener: machine{}})
	if err != nil {
		t.Fatal(err)
	}
	if string(cfg.TOML()) != before {
		t.Error("the request was changed")
	}
	for _, key := range config.Keys() {
		if p.Config.Auto(key) && !strings.HasPrefix(key, "schedule.") && key != "eval.every" && key != "checkpoint.every" &&
			key != "model.preset" && key != "tokenizer.vocab_size" {
			t.Errorf("%s is still automatic", key)
		}
		if p.Config.Origin(key) == "" {
			t.Errorf("%s has no origin", key)
		}
	}
	again, err := config.Reread("config.toml", p.Config.TOML(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.Hash() != p.Config.Hash() || again.Origin("train.micro_tokens") != p.Config.Origin("train.micro_tokens") {
		t.Error("config.toml is not the plan's configuration with its origins")
	}
}

// A run that got more steps has the rates of the shorter one until then, and says how it goes on.
func TestRateOfALongerRun(t *testing.T) {
	short := made(t, machine{}, "schedule.kind=linear", "schedule.warmup=article")
	long := made(t, machine{}, "schedule.kind=linear", "train.steps=200", "schedule.extended=[100, 100]",
		"schedule.warmup=article")
	for _, step := range []int64{1, 25, 50, 100} {
		if got, want := long.RateAt(step), short.RateAt(step); got != want {
			t.Errorf("step %d: %g, not %g", step, got, want)
		}
	}
	const want = "from 0.0001 at step 100 up to 0.00061 in 25 steps, then to 0.0001 at the end"
	if got := long.Rate.Course(); got != want || short.Rate.Course() != "" {
		t.Errorf("%q and %q", got, short.Rate.Course())
	}
	var b strings.Builder
	if long.Write(&b); !strings.Contains(b.String(), want) {
		t.Errorf("not in the plan:\n%s", b.String())
	}
	// Pairs of another run, which somebody left in a file, change nothing.
	odd := made(t, machine{}, "schedule.kind=linear", "schedule.warmup=article",
		"schedule.extended=[150, 200, 40, 30]")
	if got, want := odd.RateAt(60), short.RateAt(60); got != want {
		t.Errorf("with pairs that do not fit: %g, not %g", got, want)
	}
}

// The same inputs give the same plan.
func TestPlanIsAFunction(t *testing.T) {
	cfg := asked(t, "optim.lr=auto")
	var plans [2]*Plan
	for i := range plans {
		var err error
		if plans[i], err = draft(t, cfg).Make(context.Background(), Request{Opener: machine{}}); err != nil {
			t.Fatal(err)
		}
	}
	a, b := plans[0], plans[1]
	if string(a.Config.TOML()) != string(b.Config.TOML()) || a.Rate.Schedule != b.Rate.Schedule || a.Spec != b.Spec ||
		a.Writing != b.Writing {
		t.Errorf("%+v, then %+v", a, b)
	}
}

func TestModeFollowsHardware(t *testing.T) {
	for name, tt := range map[string]struct {
		hw   engine.Hardware
		set  string
		mode string
		warn string
	}{
		"none":         {engine.Hardware{}, "auto", "fp32", ""},
		"slower":       {engine.Hardware{BF16: "VDPBF16PS"}, "auto", "fp32", ""},
		"faster":       {engine.Hardware{BF16: "TDPBF16PS", FasterBF16: true}, "auto", "bf16", ""},
		"asked for":    {engine.Hardware{}, "bf16", "bf16", "emulated"},
		"of a machine": {engine.Hardware{Warning: "kernels are broken"}, "fp32", "fp32", "kernels are broken"},
	} {
		p := made(t, machine{hw: tt.hw}, "numeric.mode="+tt.set)
		warnings := strings.Join(p.Warnings, "\n")
		if p.Config.Numeric.Mode != tt.mode || p.Spec.Mode != tt.mode || (tt.warn != "") != (warnings != "") ||
			!strings.Contains(warnings, tt.warn) {
			t.Errorf("%s: %s, warnings %q", name, p.Spec.Mode, warnings)
		}
	}
}

// The cheapest checkpointing that fits is taken; what does not fit at all is refused.
func TestMemory(t *testing.T) {
	bytes := map[string]int64{"none": 900 << 20, "attention": 600 << 20, "block": 300 << 20}
	m := machine{model: func(s engine.Spec) int64 { return bytes[s.Checkpointing] }}
	for free, want := range map[int64]string{0: "none", 4 << 30: "none", 900 << 20: "attention", 500 << 20: "block"} {
		m.hw.Free = free
		if p := made(t, m); p.Config.Numeric.Checkpointing != want || p.Spec.Checkpointing != want {
			t.Errorf("%d MB free: %s, want %s", free>>20, p.Spec.Checkpointing, want)
		}
	}
	m.hw.Free = 200 << 20
	_, err := draft(t, asked(t)).Make(context.Background(), Request{Opener: m})
	if !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "train.micro_tokens") {
		t.Errorf("error %v", err)
	}
	m.hw.Free = 500 << 20
	fixed := draft(t, asked(t, "numeric.checkpointing=none"))
	if _, err := fixed.Make(context.Background(), Request{Opener: m}); !errors.Is(err, ErrMemory) {
		t.Errorf("a mode that was asked for was changed: %v", err)
	}
}

// A run that is planned by time needs an engine to time.
func TestNothingToTime(t *testing.T) {
	_, err := draft(t, asked(t, "train.steps=auto")).Make(t.Context(), Request{Opener: machine{}})
	var faults *config.Error
	if !errors.As(err, &faults) || faults.Faults[0].Key != "train.steps" {
		t.Errorf("error %v", err)
	}
}

// largeText is a file of a million letters.
func largeText(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "large.txt")
	if err := os.WriteFile(path, bytes.Repeat([]byte("the cat sat on "), 1<<16), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// On a device a pass is the whole batch, or the largest even part of it that fits, and few sizes are tried.
func TestPassOfDevice(t *testing.T) {
	for name, tt := range map[string]struct {
		free, token   int64 // bytes
		micro         int
		checkpointing string
		tried         int
	}{
		"all of it":           {8 << 30, 1 << 10, 1 << 18, "none", 1},
		"unknown":             {0, 1 << 20, 1 << 18, "none", 1},
		"a part":              {8 << 30, 150 << 10, 1 << 15, "none", 2},
		"the least":           {8 << 30, 800 << 10, 1 << 13, "none", 2},
		"less than the least": {8 << 30, 2 << 20, 1 << 13, "block", 4},
	} {
		tried := map[engine.Spec]bool{}
		m := machine{hw: engine.Hardware{Device: "cuda", Workers: 1, Free: tt.free, FasterBF16: true}}
		m.model = func(s engine.Spec) int64 {
			tried[s] = true
			bytes := int64(s.MicroTokens) * tt.token
			switch s.Checkpointing {
			case "attention":
				bytes = bytes * 9 / 10
			case "block":
				bytes /= 4
			}
			return 1<<20 + bytes
		}
		p := made(t, m, "train.batch_tokens=262144",
			"data.paths="+largeText(t))
		if c := p.Config; c.Train.MicroTokens != tt.micro || p.Spec.MicroTokens != tt.micro ||
			c.Numeric.Checkpointing != tt.checkpointing || c.Numeric.Mode != "bf16" || len(tried) != tt.tried {
			t.Errorf("%s: passes of %d tokens, checkpointing %s, %s, %d programs", name, c.Train.MicroTokens,
				c.Numeric.Checkpointing, c.Numeric.Mode, len(tried))
		}
	}
}

// A run that is planned by time leaves room for what comes before and after the steps, on any machine.
func TestTrainingTime(t *testing.T) {
	p := &Plan{Config: config.Default()}
	p.Memory.Slots = 8e6
	for _, speed := range []float64{3e3, 15e3, 100e3} {
		for _, prepared := range []time.Duration{2 * time.Second, 40 * time.Second} {
			given := p.trainingTime(prepared, 400_000, pace{token: 1 / speed})
			whole := time.Duration(400_000 / 3 / speed * float64(time.Second))
			const budget = 150 * time.Second
			if total := given + prepared + whole; given > 30*time.Second && (total > budget || total < budget*8/10) {
				t.Errorf("%.0f tokens/s, %v prepared: %v for training, %v in all", speed, prepared, given, total)
			}
		}
	}
	if given := p.trainingTime(10*time.Minute, 1, pace{token: 1e-4}); given != 30*time.Second {
		t.Errorf("after ten minutes of preparing: %v", given)
	}
}

func TestSteps(t *testing.T) {
	cfg := config.Default()
	cfg.Train.MicroTokens = 512
	// a million tokens: a thousand updates
	if err := planSteps(cfg, 100e6, pace{token: 1e-4}, 1, 100*time.Second); err != nil {
		t.Fatal(err)
	}
	origin := cfg.Origin("train.steps")
	if cfg.Train.BatchTokens != 1000 || cfg.Train.Steps != 1000 || !strings.Contains(origin, "10.0k tokens/s") {
		t.Errorf("%d steps of %d tokens: %s", cfg.Train.Steps, cfg.Train.BatchTokens, origin)
	}
	cfg = config.Default()
	cfg.Train.MicroTokens = 512
	if err := planSteps(cfg, 100e6, pace{token: 1e-4, update: 0.05}, 2000, 100*time.Second); err != nil {
		t.Fatal(err)
	}
	if cfg.Train.BatchTokens != 2000 || cfg.Train.Steps != 400 { // 0.25 s each
		t.Errorf("with costly updates %d steps of %d tokens", cfg.Train.Steps, cfg.Train.BatchTokens)
	}
	cfg = config.Default()
	cfg.Train.MicroTokens = 512
	if err := planSteps(cfg, 20_000, pace{token: 1e-6}, 1, 100*time.Second); err != nil { // little text: ten epochs
		t.Fatal(err)
	}
	origin = cfg.Origin("train.steps")
	if got := cfg.Train.Steps * int64(cfg.Train.BatchTokens); got > 10*20_000 || !strings.Contains(origin, "epochs") {
		t.Errorf("%d tokens: %s", got, origin)
	}
}

// A text that is not what a run was trained on is refused, and one that is gone, too.
func TestChangedText(t *testing.T) {
	cfg := asked(t)
	hash := draft(t, cfg).Text.Set.Hash
	opt := TextOptions{Hash: hash, Workers: 1}
	d, err := OpenText(context.Background(), cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if err := os.WriteFile(filepath.Join(cfg.Data.Paths[0], "00.txt"), []byte("another text"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = OpenText(context.Background(), cfg, opt)
	if !errors.Is(err, ErrChanged) || !errors.Is(err, data.ErrUnusable) {
		t.Errorf("error %v", err)
	}
	if err := os.RemoveAll(cfg.Data.Paths[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenText(context.Background(), cfg, opt); !errors.Is(err, ErrChanged) {
		t.Errorf("error %v", err)
	}
	if _, err := OpenText(context.Background(), cfg, TextOptions{}); err == nil || errors.Is(err, ErrChanged) {
		t.Errorf("a new run: %v", err)
	}
}

func TestAutoVocab(t *testing.T) {
	for bytes, want := range map[int64]int{0: 257, 3e3: 313, 10e3: 359, 16e3: 512, 1e6: 1024, 4e6: 2048, 100e6: 8192,
		1e12: 32768} {
		if got := autoVocab(bytes); got != want {
			t.Errorf("%d bytes: %d ids, want %d", bytes, got, want)
		}
	}
}

// A run of ten minutes and more writes the 100 texts of the guide at the end of an epoch and of the run, a shorter one
// as many as its time allows; a resumed run writes the same; what a person asks for stays.
func TestWholeTexts(t *testing.T) {
	context128 := []string{"train.context=128", "train.batch_tokens=256"}
	short := made(t, machine{}, context128...)
	if w := short.Writing; w.Samples.Texts() >= 100 || w.Usual != (judge.Plan{}) ||
		!strings.Contains(short.Config.Origin("eval.prompts"), "from ten minutes on, a run writes 100 texts") {
		t.Errorf("a short run: %+v, %s", w, short.Config.Origin("eval.prompts"))
	}
	large := append([]string{"model.layers=12", "model.width=2048"}, context128...) // 100 steps: 15 minutes
	long := made(t, machine{}, large...)
	if w := long.Writing; w.Samples.Texts() != 100 || w.Samples.MinTokens != 32 || w.Usual.Texts() >= 100 ||
		w.Usual.MaxTokens != w.Samples.MaxTokens {
		t.Errorf("a long run: %+v", w)
	}
	var b strings.Builder
	if long.Write(&b); !strings.Contains(b.String(), "100 at the end of an epoch and of the run, about") {
		t.Errorf("the plan does not say so:\n%s", &b)
	}
	again, err := config.Reread("config.toml", long.Config.TOML(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resumed, err := draft(t, again).Make(context.Background(), Request{Opener: machine{}, Begun: true})
	if err != nil || resumed.Writing != long.Writing {
		t.Errorf("resumed: %+v, %v; it began with %+v", resumed.Writing, err, long.Writing)
	}
	if w := made(t, machine{}, append(large, "eval.prompts=7")...).Writing; w.Samples.Prompts != 7 ||
		w.Usual != (judge.Plan{}) {
		t.Errorf("asked for 7 prompts: %+v", w)
	}
	for _, tt := range []struct {
		step             int64
		ends, due, whole bool
	}{{100, false, true, true}, {100, true, true, true}, {10, false, true, false}, {10, true, true, true},
		{33, true, true, true}, {33, false, false, false}} {
		if due, whole := long.EvalDue(tt.step, tt.ends); due != tt.due || whole != tt.whole {
			t.Errorf("%+v: due %v, whole %v", tt, due, whole)
		}
	}
}

// Saves come early before the first evaluation, and then where they were asked for.
func TestSaveDue(t *testing.T) {
	for want, set := range map[string][]string{
		"50 100 200 400":         {"train.steps=5000"},
		"50 100 150 300 450 600": {"train.steps=600", "checkpoint.every=150", "eval.every=600"},
		"":                       {"train.steps=100"},
	} {
		p, got := made(t, machine{}, set...), []string{}
		for step := range p.Config.Train.Steps {
			if p.SaveDue(step + 1) {
				got = append(got, fmt.Sprint(step+1))
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%v: %s, want %s", set, s, want)
		}
	}
}
