package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"gimbal/internal/testseed"
)

var updateFlag = flag.Bool("update", false, "write docs/config.md and the golden faults anew")

// random returns a generator whose seed is printed.
var random = testseed.Rand

func sets(texts ...string) []Assignment {
	var list []Assignment
	for _, s := range texts {
		list = append(list, Set(s))
	}
	return list
}

func parse(t *testing.T, file string, texts ...string) *Config {
	t.Helper()
	c, err := Parse("run.toml", []byte(file), sets(texts...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// golden compares with a file under testdata or docs, which -update writes.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *updateFlag {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale (run with -update); it should be:\n%s", path, got)
	}
}

// The defaults are those of the design's table.
func TestDefaults(t *testing.T) {
	c := parse(t, "")
	want := Config{
		Data: Data{Splits: "names", ValFraction: 0.05, ValFrom: "before_end", Template: "model", Start: "eos",
			BadDocuments: "stop", BadShare: 0.001},
		Tokenizer: Tokenizer{Kind: "bpe"},
		Model:     Model{Shape: "qwen3", Tie: true},
		Train:     Train{Budget: 2.5, Context: 256, BatchTokens: 8192, Adapter: "none", Objective: "lm", Seed: 1},
		DPO:       DPO{Beta: 0.1},
		Adapter:   Adapter{Rank: 16, Alpha: 32, Targets: []string{"all"}, Base: "auto"},
		Optim: Optim{Kind: "auto", LR: Rule{Name: "auto"}, Momentum: 0.95, Beta1: 0.9, Eps: 1e-8, WeightDecay: 0.1,
			Clip: 1},
		Schedule:   Schedule{Kind: "cosine-restarts", Warmup: Rule{Name: "auto"}, Floor: 0.1},
		Numeric:    Numeric{Mode: "auto", Checkpointing: "auto", Device: "auto", Shard: "moments"},
		Checkpoint: Checkpoint{Keep: 3},
		Eval:       Eval{Prompts: 20, Samples: 5, MaxTokens: 128, TaskLimit: 100},
		Guard:      Guard{Mode: "act", Halve: "probation"},
		Judge:      Judge{EarlyStop: "sound", Select: "sound"},
		origins:    c.origins,
	}
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("%+v\nwant %+v", *c, want)
	}
	for _, k := range Keys() {
		if c.Origin(k) != "default" || lookup(k).doc == "" {
			t.Errorf("%s: origin %q, doc %q", k, c.Origin(k), lookup(k).doc)
		}
		if v, ok := c.Value(k); !ok || (v == "auto") != (c.Auto(k) || k == "numeric.mode" || k == "numeric.checkpointing" ||
			k == "numeric.device" || k == "adapter.base" || k == "optim.lr" || k == "optim.kind" ||
			k == "schedule.warmup") {
			t.Errorf("%s: value %q, auto %t", k, v, c.Auto(k))
		}
		if k := lookup(k); !k.auto && !math.IsNaN(number(k.at(c))) { // a default is a value that a user may write
			if fault := k.number(number(k.at(c))); fault != "" {
				t.Errorf("%s: default refused: %s", k.name, fault)
			}
		}
	}
	if c.Optim.Beta2At(8192) != 0.99 || c.Optim.Beta2At(500_000) != 0.95 || (Optim{Beta2: 0.9}).Beta2At(1) != 0.9 {
		t.Error("beta2 by rule")
	}
	if v, ok := c.Value("train.stepz"); ok || v != "" || lookup("train.stepz") != nil || c.Origin("train.stepz") != "" {
		t.Error("a key that does not exist has a value")
	}
}

func number(p any) float64 {
	switch p := p.(type) {
	case *int:
		return float64(*p)
	case *int64:
		return float64(*p)
	case *uint64:
		return float64(*p)
	case *float64:
		return *p
	}
	return math.NaN()
}

// default < preset < file < --set and flags, and each value says where it came from.
func TestPrecedenceAndOrigins(t *testing.T) {
	file := "[model]\npreset = \"nanogpt-cpu\"\nlayers = 3\n[train]\nsteps = 50\ncontext = 32\n" +
		"[optim]\nlr = 0.002\n[schedule]\nwarmup_exact = false\n"
	c, err := Parse("run.toml", []byte(file), []Assignment{
		Set("train.steps=60"),
		{Key: "train.seed", Value: "7", Origin: "flag --seed"},
		{Key: "data.paths", List: []string{"a b", "c=d"}, Origin: "flag --data"},
		Set("optim.beta2 = auto"), // overrules the preset with the rule
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range [][3]string{
		{"model.preset", "nanogpt-cpu", "file run.toml:2"},
		{"model.layers", "3", "file run.toml:3"},
		{"model.width", "128", "preset nanogpt-cpu"},
		{"train.steps", "60", "--set"},
		{"train.context", "32", "file run.toml:6"},
		{"train.seed", "7", "flag --seed"},
		{"train.batch_tokens", "768", "preset nanogpt-cpu"},
		{"optim.lr", "0.002", "file run.toml:8"},
		{"optim.beta1", "0.9", "default"},
		{"optim.beta2", "auto", "--set"},
		{"schedule.warmup", "100", "preset nanogpt-cpu"},
		{"data.paths", "a b c=d", "flag --data"},
	} {
		if v, _ := c.Value(w[0]); v != w[1] || c.Origin(w[0]) != w[2] {
			t.Errorf("%s = %s from %q, want %s from %q", w[0], v, c.Origin(w[0]), w[1], w[2])
		}
	}

	// Another preset leaves nothing of the first, and nothing that was given.
	if err := c.UsePreset("micro", "planned: 1 MB of text"); err != nil {
		t.Fatal(err)
	}
	for _, w := range [][3]string{
		{"model.preset", "micro", "planned: 1 MB of text"},
		{"model.layers", "3", "file run.toml:3"},
		{"model.width", "256", "preset micro"},
		{"model.shape", "qwen3", "default"},
		{"schedule.warmup", "auto", "default"},
		{"train.steps", "60", "--set"},
	} {
		if v, _ := c.Value(w[0]); v != w[1] || c.Origin(w[0]) != w[2] {
			t.Errorf("%s = %s from %q, want %s from %q", w[0], v, c.Origin(w[0]), w[1], w[2])
		}
	}
	if err := c.UsePreset("huge", "planned"); err == nil || c.Model.Preset != "micro" {
		t.Errorf("an unknown preset: %v", err)
	}
}

func TestSetPlanned(t *testing.T) {
	c := parse(t, "")
	before := c.Hash()
	d := c.Clone()
	for key, v := range map[string]any{
		"train.steps": int64(2000), "tokenizer.vocab_size": 66, "train.micro_tokens": 4096, "optim.beta2": 0.99,
		"optim.lr": Rule{Value: 5.3e-4}, "numeric.mode": "fp32", "model.tie": false, "data.paths": []string{"x"},
		"train.seed": uint64(9), "schedule.warmup": Rule{Name: "article"}, "tokenizer.kind": "chars",
	} {
		if err := d.SetPlanned(key, v, "planned: because"); err != nil {
			t.Error(err)
		}
		if d.Origin(key) != "planned: because" {
			t.Errorf("%s: origin %q", key, d.Origin(key))
		}
	}
	if d.Train.Steps != 2000 || d.Optim.LR.Value != 5.3e-4 || d.Optim.LR.String() != "0.00053" || d.Train.Seed != 9 {
		t.Errorf("%+v", d)
	}
	if err := d.Check(); err != nil {
		t.Error(err)
	}
	if c.Hash() != before || c.Origin("train.steps") != "default" {
		t.Error("a clone shares with its original")
	}
	if d.Hash() == before {
		t.Error("the hash does not see the values")
	}
	for key, v := range map[string]any{
		"train.stepz": 1, "train.steps": -1, "train.context": 1.5, "train.seed": uint64(math.MaxUint64),
		"optim.lr": math.NaN(), "model.tie": "yes", "numeric.mode": 16,
		"data.paths": []string{"a", ""}, "eval.every": struct{}{},
	} {
		var e *Error
		if err := d.SetPlanned(key, v, "planned: wrong"); !errors.As(err, &e) || d.Origin(key) == "planned: wrong" {
			t.Errorf("%s = %v: error %v, origin %q", key, v, err, d.Origin(key))
		}
	}
	if err := d.SetPlanned("train.micro_tokens", 100_000, "planned"); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(); err == nil {
		t.Error("micro_tokens above batch_tokens pass Check")
	}
}

// TestFieldsKey gives names of records as a table, a list and a text. A run that gives none has the hash it always had.
func TestFieldsKey(t *testing.T) {
	want := []string{"prompt=the question", "completion=a"}
	for _, file := range []string{"[data]\nfields = {prompt = \"the question\", completion = \"a\"}",
		"[data]\nfields = [\"prompt=the question\", \"completion=a\"]"} {
		if c := parse(t, file); !slices.Equal(c.Data.Fields, want) || c.Hash() == Default().Hash() {
			t.Errorf("%s: %q", file, c.Data.Fields)
		}
	}
	c, err := Load("", sets("data.fields=prompt=q,completion=a"))
	if err != nil || !slices.Equal(c.Data.Fields, []string{"prompt=q,completion=a"}) {
		t.Errorf("%v", err)
	}
	again, err := Parse("run.toml", c.TOML(), nil)
	if err != nil || again.Hash() != c.Hash() {
		t.Errorf("%v", err)
	}
}

// Every fault of a file full of them, and of the command line, at once.
func TestAllFaultsAtOnce(t *testing.T) {
	_, err := Load(filepath.Join("testdata", "faults.toml"), sets("train.stps=3", "foo", "optim.lr=prob",
		"model.tie=maybe", `data.paths=["a"`))
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v", err)
	}
	golden(t, filepath.Join("testdata", "faults.txt"), []byte(err.Error()+"\n"))
}

// One fault alone: its place, its key and what it says.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ file, set, want string }{
		{"[train]\nstep = 5", "", "run.toml:2: train.step: unknown key; did you mean train.steps?"},
		{"", "stpes=5", "--set: stpes: unknown key; did you mean train.steps?"},
		{"[train]\nlr = 1", "", "run.toml:2: train.lr: unknown key; did you mean optim.lr?"},
		{"", "zzz.yyyyyyyyy=5", "--set: zzz.yyyyyyyyy: unknown key; the sections are data, tokenizer,"},
		{"[guard]\nthreshold = 6", "", "run.toml:2: guard.threshold: unknown key; [guard] has mode, halve"},
		{"", "train.steps=0", "--set: train.steps: 0 is outside the range from 1 to 1e+12"},
		{"", "train.steps=1e3", `--set: train.steps: wants a whole number or "auto", not the decimal number 1000`},
		{"", "train.steps=", `--set: train.steps: wants a whole number or "auto", not ""`},
		{"", "train.context=99999999999", "--set: train.context: 99999999999 is outside the range"},
		{"", "train.seed=-1", "--set: train.seed: -1 is outside the range"},
		{"", "optim.lr=NaN", "--set: optim.lr: NaN is outside"},
		{"", "optim.lr=-Inf", "--set: optim.lr: -Inf is outside"},
		{"", "optim.lr=1e999", "--set: optim.lr: +Inf is outside"},
		{"", "optim.lr=0", "--set: optim.lr: 0 is outside"},
		{"", "optim.beta1=1", "--set: optim.beta1: 1 is outside the range from 0 to below 1"},
		{"", "data.val_fraction=0.6", "--set: data.val_fraction: 0.6 is outside the range above 0 to 0.5"},
		{"", "model.dropout=1", "model.dropout: 1 is outside"},
		{"", "data.paths=[]", ""},
		{"", `data.paths=["a", ""]`, "an empty text"},
		{"[data]\nfields = {text = 7}", "", "run.toml:2: data.fields: wants a string or a list of strings"},
		{"[data]\nfields = {text = \"a\"}\nfields = \"text=b\"", "", "run.toml:3: data.fields: is already set on line 2"},
		{"", "data.weights=3, 4", "data.weights: 2 weights for 0 paths"},
		{"", "data.weights=[1, 0]", "0 is outside the range above 0"},
		{"", `data.weights=["a"]`, "wants numbers in the list, not a string"},
		{"[data]\npaths = [\"a\", \"b\"]\nweights = [1, 2, 3]", "", "run.toml:3: data.weights: 3 weights for 2 paths"},
		{"[data]\npaths = [\"a\", \"b\"]\nweights = [1, 2.5]", "", ""},
		{"", "data.separator=a\x00b", "is not text"},
		{"", "data.start=eof", `"eof" is not one of eos, bos, none; did you mean eos?`},
		{"[model]\ntie = 1", "", "run.toml:2: model.tie: wants true or false, not a whole number"},
		{"model.width = 130", "", "run.toml:1: model.head_size: a head of 65 channels is not even"},
		{"", "model.width=200", "--set: model.heads: 3 heads do not divide model.width 200"},
		{"[model]\nwidth = 192\nheads = 5", "", "run.toml:3: model.heads: 5 heads do not divide model.width 192"},
		{"[model]\nwidth = 128\nheads = 4\nkv_heads = 3", "", "run.toml:4: model.kv_heads: 3 does not divide the 4 heads"},
		{"[model]\nwidth = 128\nheads = 4\nkv_heads = 2\nshape = \"gpt2\"", "",
			"run.toml:4: model.kv_heads: in the gpt2 shape this must equal model.heads"},
		{"[model]\nwidth = 128\nheads = 2\nhead_size = 32\nshape = \"qwen2\"", "",
			"run.toml:4: model.head_size: in the qwen2 shape"},
		{"[model]\nwidth = 128\nheads = 2\nhead_size = 32", "", ""},
		{"[train]\ncontext = 9000", "",
			"run.toml:2: train.batch_tokens: 8192 is less than one sequence of train.context 9000"},
		{"", "train.micro_tokens=100", "--set: train.micro_tokens: 100 is less than one sequence"},
		{"", "train.micro_tokens=10000", "--set: train.micro_tokens: 10000 is more than train.batch_tokens 8192"},
		{"", "tokenizer.vocab_size=256", "--set: tokenizer.vocab_size: 256 ids are too few for a bpe"},
		{"schedule.warmup = 100\nschedule.warmup_exact = true\ntrain.steps = 100", "",
			"run.toml:1: schedule.warmup: an exact warmup of 100 steps must be shorter than the run of 100"},
		{"schedule.warmup = 100\ntrain.steps = 100", "", ""},
		{"schedule.warmup_exact = true\ntrain.steps = 500", "",
			"run.toml:1: schedule.warmup: an exact warmup of 500 steps must be shorter"},
		{"schedule.period = 100\nschedule.kind = \"wsd\"", "",
			"run.toml:1: schedule.period: only cosine-restarts has a period"},
		{"schedule.warmup = 10.5", "", "run.toml:1: schedule.warmup: wants a whole number of steps, not 10.5"},
		{"train = 5", "", "run.toml:1: train: unknown key"},
		{"[train]\nsteps.x = 5", "", "run.toml:2: train.steps.x: unknown key; did you mean train.steps?"},
		{"train = { steps = 5, context = 'x' }", "", "run.toml:1: train.context: wants a whole number, not \"x\""},
		{"[train]\n[optim]\n[train]", "", "run.toml:3: [train]: the section already begins on line 1"},
		{"[train]\nsteps = 5\n[optim]\ntrain.steps = 6", "", "run.toml:4: optim.train.steps: unknown key; did you mean"},
		{"# \xff", "", "run.toml:1: not TOML"},
		{"a = \"\"\"\nopen", "", "not TOML"},
		{"\r\n\r\n[train]\r\nstepz = 5\r\n", "", "run.toml:4: train.stepz"},
	} {
		var s []Assignment
		if c.set != "" {
			s = sets(c.set)
		}
		_, err := Parse("run.toml", []byte(c.file), s)
		var e *Error
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q %q: %v", c.file, c.set, err)
		case c.want == "":
		case !errors.As(err, &e):
			t.Errorf("%q %q: error %v, want %q", c.file, c.set, err, c.want)
		case len(e.Faults) != 1 || !strings.Contains(err.Error(), c.want):
			t.Errorf("%q %q:\n%v\nwant %q", c.file, c.set, err, c.want)
		}
	}
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "my.toml")
	if err := os.WriteFile(path, []byte("train.steps = 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, nil)
	if err != nil || c.Train.Steps != 5 || c.Origin("train.steps") != "file my.toml:1" {
		t.Errorf("%v, %v", c, err)
	}
	// A file that is not there does not hide what is wrong with the rest.
	var e *Error
	if _, err := Load(filepath.Join(dir, "none.toml"), sets("x=1")); !errors.As(err, &e) || len(e.Faults) != 2 ||
		!strings.Contains(err.Error(), "none.toml") {
		t.Errorf("missing: %v", err)
	}
	if _, err := Load(dir, nil); !errors.As(err, &e) {
		t.Errorf("a folder: %v", err)
	}
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, nil); !errors.As(err, &e) || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("huge: %v", err)
	}
}

// Whatever a configuration holds, its file gives it back: values by Load, origins too by Reread.
func TestRoundTrip(t *testing.T) {
	r := random(t)
	for range 500 {
		c := Default()
		if r.IntN(2) == 0 {
			if err := c.UsePreset(presets[r.IntN(len(presets))].name, "planned: x # y"); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range keys {
			if r.IntN(3) > 0 || k.name == "model.preset" {
				continue
			}
			var v any
			switch k.at(c).(type) {
			case *string:
				v = strings.Repeat("ä\"\\\n\t\u007f\u0001  # 'x", r.IntN(3))
				if k.choices != nil {
					v = k.choices[r.IntN(len(k.choices))]
				}
			case *[]string:
				v = []string{"a  # b", "c, \"d\"]", "\\"}[:r.IntN(4)]
			case *[]float64:
				v = []float64{1, 0.25, 3e-7}[:r.IntN(4)]
				if k.name == "schedule.extended" {
					v = []float64{1, 2, 3}[:r.IntN(4)] // some are no pairs
				}
			case *bool:
				v = r.IntN(2) == 0
			case *float64, *Rule:
				v = k.lo + (min(k.hi, 1e6)-k.lo)*(1-r.Float64())
				if k.name == "schedule.warmup" {
					v = int64(r.IntN(1000))
				}
				if k.below && v == k.hi {
					v = k.hi / 2
				}
			default:
				v = int64(max(1, k.lo)) + r.Int64N(int64(min(k.hi, 1<<62)))
				if v.(int64) > int64(min(k.hi, 1<<62)) {
					v = int64(k.hi)
				}
			}
			if err := c.SetPlanned(k.name, v, fmt.Sprintf("planned:   %d  # %x", r.IntN(100), r.Uint64())); err != nil {
				t.Fatal(err)
			}
		}
		if c.Check() != nil { // Load would refuse it too
			continue
		}
		text := c.TOML()
		d, err := Reread("config.toml", text, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if again := d.TOML(); !bytes.Equal(again, text) {
			t.Fatalf("reread:\n%s\nwas:\n%s", again, text)
		}
		e := parse(t, string(text))
		if d.Hash() != c.Hash() || e.Hash() != c.Hash() {
			t.Fatalf("the hash changes:\n%s", text)
		}
		for i := range keys {
			k := &keys[i]
			if list := reflect.ValueOf(k.at(c)).Elem(); list.Kind() == reflect.Slice &&
				list.Len()+reflect.ValueOf(k.at(e)).Elem().Len() == 0 {
				continue // none is nil or empty
			}
			if !reflect.DeepEqual(reflect.ValueOf(k.at(c)).Elem().Interface(), reflect.ValueOf(k.at(e)).Elem().Interface()) {
				t.Fatalf("%s: %v became %v", k.name, k.format(c, true), k.format(e, true))
			}
		}
	}
}

// A resumed run keeps its values even where they look like those of a preset that has changed since.
func TestRereadKeepsValues(t *testing.T) {
	c := parse(t, "", "model.preset=micro", "train.seed=3")
	text := strings.Replace(string(c.TOML()), "layers = 6", "layers = 5", 1)
	d, err := Reread("config.toml", []byte(text), []Assignment{{Key: "train.steps", Value: "77", Origin: "flag --steps"}})
	if err != nil {
		t.Fatal(err)
	}
	if d.Model.Layers != 5 || d.Origin("model.layers") != "preset micro" || d.Origin("train.seed") != "--set" {
		t.Errorf("layers %d from %q, seed from %q", d.Model.Layers, d.Origin("model.layers"), d.Origin("train.seed"))
	}
	if d.Train.Steps != 77 || d.Origin("train.steps") != "flag --steps" || d.Origin("eval.every") != "default" {
		t.Errorf("steps %d from %q", d.Train.Steps, d.Origin("train.steps"))
	}
}

// newerLine is a line of TOML with a key that has an older value.
var newerLine = regexp.MustCompile(`^(splits|val_from|template|momentum|budget|keep|devices?|adapter|rank|alpha|targets|rslora) = |^kind = "(auto|adamw)"`)

// A file of a run from before a key gives the key its older value, whatever the preset; the hash is what it was then.
func TestRereadOlderFile(t *testing.T) {
	for _, preset := range []string{"", "micro", "nanogpt-cpu"} {
		sets := []string{"schedule.warmup=article"} // as it was by default
		if preset != "" {
			sets = append(sets, "model.preset="+preset)
		}
		c := parse(t, "", sets...)
		var older []string // the file as it was without the keys
		for line := range strings.Lines(string(c.TOML())) {
			if !newerLine.MatchString(line) {
				older = append(older, line)
			}
		}
		d, err := Reread("config.toml", []byte(strings.Join(older, "")), nil)
		if err != nil {
			t.Fatal(err)
		}
		if d.Data.Splits != "ignore" || d.Data.ValFrom != "end" || d.Optim.Kind != "adamw" ||
			d.Origin("data.splits") == "default" {
			t.Errorf("preset %q: splits %s, val_from %s", preset, d.Data.Splits, d.Data.ValFrom)
		}
		if preset == "" && d.Hash() != "24714d705caed5a803b6191d715f517804f327d7914e9d7ab617de528b976da4" {
			t.Errorf("the hash of an older run has changed: %s", d.Hash())
		}
		if again, err := Reread("config.toml", d.TOML(), nil); err != nil || !bytes.Equal(again.TOML(), d.TOML()) {
			t.Errorf("preset %q: written again, it is another configuration", preset)
		}
	}
}

// A file without a key is no run's: nothing in it is set.
func TestRereadEmptyFile(t *testing.T) {
	c, err := Reread("config.toml", []byte("# nothing\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range Keys() {
		if c.Origin(key) != "default" {
			t.Errorf("%s is from %q", key, c.Origin(key))
		}
	}
}

// White space right after the "=" of --set is meant where a text is free, and only there.
func TestSetKeepsWhiteSpace(t *testing.T) {
	for set, want := range map[string]string{
		"data.separator=\n\n": "\n\n", "data.separator=\n---\n": "\n---\n", "data.separator = ---": "---",
		`data.separator="\n"`: "\n", "data.separator=": "",
	} {
		if got := parse(t, "", set).Data.Separator; got != want {
			t.Errorf("%q: separator %q, want %q", set, got, want)
		}
	}
	c := parse(t, "", "tokenizer.kind= bytes ", "train.steps= 7", "optim.lr= auto", "data.paths= x ")
	if c.Tokenizer.Kind != "bytes" || c.Train.Steps != 7 || c.Optim.LR.Name != "auto" || c.Data.Paths[0] != "x" {
		t.Errorf("%+v", c)
	}
}

// Recorded: the hash stands in logs, so it must not change while the keys do not.
func TestHashRecorded(t *testing.T) {
	const want = "a19f6dcaab4f38189f5f6ab2a83a927ed27e313a827af43cf9cc202995ee7f2c"
	if got := Default().Hash(); got != want {
		t.Errorf("hash of the defaults %s, recorded %s: say so in the changelog when a key or a default changes", got, want)
	}
}

// A device has a name, or is the path of a plugin. A run that is planned for the CPU has the hash of one from before
// there were devices.
func TestDevice(t *testing.T) {
	for _, name := range []string{"auto", "cpu", "tpu", "./plugin.so", "/opt/x/plugin.so", `c:\plugin.dll`} {
		if c := parse(t, "", "numeric.device="+name); c.Numeric.Device != name {
			t.Errorf("%q became %q", name, c.Numeric.Device)
		}
	}
	_, err := Parse("", nil, sets("numeric.device=cdua"))
	if err == nil || !strings.Contains(err.Error(), "and no path; did you mean cuda?") {
		t.Errorf("a wrong name: %v", err)
	}
	old, err := Reread("config.toml", []byte("[train]\nseed = 1\n"), nil)
	if err != nil || old.Numeric.Device != "cpu" || old.Numeric.Devices != 1 {
		t.Fatalf("an old run has the device %+v, %v", old, err)
	}
	cpu := old.Clone()
	cpu.origins["numeric.device"], cpu.origins["numeric.devices"] = "planned", "planned"
	cuda := old.Clone()
	cuda.Numeric.Device = "cuda"
	if old.Hash() != cpu.Hash() || old.Hash() == cuda.Hash() {
		t.Error("hashes of runs on the CPU differ, or that on a device does not")
	}
}

// A path may have any byte but NUL. One that is not UTF-8 is written as in a URL, and read back as it was.
func TestPathBytes(t *testing.T) {
	for _, path := range []string{"x\xff", "/tmp/x\xff/\xe9 %41", "//x\xff", "///\x80", "file:x", "file:%zz", "plain",
		"ü/中"} {
		c := Default()
		for _, key := range []string{"data.paths", "tokenizer.path", "judge.encoder"} {
			value := any(path)
			if key == "data.paths" {
				value = []string{"a", "./" + path, "/" + path}
			}
			if strings.HasPrefix(path, "file:") {
				value = encodePath(path) // as it is, it would be a URL
			}
			if err := c.SetPlanned(key, value, "test"); err != nil {
				t.Fatalf("%s = %q: %v", key, value, err)
			}
		}
		text := c.TOML()
		d, err := Reread("config.toml", text, nil)
		if err != nil || !utf8.Valid(text) {
			t.Fatalf("%q: %v\n%s", path, err, text)
		}
		if !slices.Equal(d.Data.Paths, c.Data.Paths) || d.Tokenizer.Path != path || d.Judge.Encoder != path {
			t.Errorf("%q became %q, %q, %q", path, d.Data.Paths, d.Tokenizer.Path, d.Judge.Encoder)
		}
	}
	c, err := Flags{Data: []string{"x\xff", "file:///tmp/a%20b"}}.Load("")
	if err != nil || !slices.Equal(c.Data.Paths, []string{"x\xff", "/tmp/a b"}) {
		t.Errorf("from flags %q, %v", c.Data.Paths, err)
	}
	if _, err := Parse("", nil, sets("tokenizer.kind=\xff")); err == nil {
		t.Error("another key takes what is not UTF-8")
	}
}

// A file may begin with a byte order mark; another encoding is named.
func TestByteOrderMark(t *testing.T) {
	const file = "\xEF\xBB\xBF[train]\r\nsteps = 5\r\n"
	c, err := Parse("run.toml", []byte(file), nil)
	if err != nil || c.Train.Steps != 5 || c.Origin("train.steps") != "file run.toml:2" {
		t.Errorf("%v, %v", c, err)
	}
	d, err := Reread("config.toml", append([]byte("\xEF\xBB\xBF"), c.TOML()...), nil)
	if err != nil || d.Train.Steps != 5 || d.Origin("train.steps") != "file run.toml:2" {
		t.Errorf("reread: %v, %v", d, err)
	}
	for mark, want := range map[string]string{"\xFF\xFE[\x00": "utf-16le", "\xFE\xFF\x00[": "utf-16be",
		"\xFF\xFE\x00\x00[\x00\x00\x00": "utf-32le"} {
		_, err := Parse("run.toml", []byte(mark), nil)
		if err == nil || !strings.Contains(err.Error(), "run.toml:1: the file is in "+want+"; save it as UTF-8") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// A key that came later does not change the hash of runs without it.
func TestLaterKey(t *testing.T) {
	c := parse(t, "", "data.encoding=gbk")
	if c.Hash() == Default().Hash() || c.Data.Encoding != "gbk" {
		t.Error("the hash does not see data.encoding")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[train]\nsteps = 5\n", "optim.lr=1e-3")
	f.Add("train = { steps = 5 }\n[[x]]\na = [1, {b = 2}]", "data.paths=[\"a\"]")
	f.Add("a = \"\"\"\n", "=")
	f.Add("\xEF\xBB\xBF[data]\npaths = \"file:x%FF\"", "data.paths=\xff")
	f.Add("a.b.c = 1979-05-27\n]", "model.preset=nano")
	f.Fuzz(func(t *testing.T, file, set string) {
		c, err := Parse("run.toml", []byte(file), sets(set))
		var e *Error
		if err != nil {
			if !errors.As(err, &e) || len(e.Faults) == 0 || c != nil {
				t.Fatalf("error %v", err)
			}
			if _, err := Reread("run.toml", []byte(file), nil); err != nil && err.Error() == "" {
				t.Fatal("empty error")
			}
			return
		}
		d, err := Reread("config.toml", c.TOML(), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, c.TOML())
		}
		if d.Hash() != c.Hash() {
			t.Fatalf("%s\nbecame\n%s", c.TOML(), d.TOML())
		}
	})
}

// A key of an older version is read and ignored with a note, and a run that had its usual value keeps its hash.
func TestRemovedKey(t *testing.T) {
	c := parse(t, "[judge]\naverage = true\npatience = 3\n", "judge.average=false")
	if len(c.Notes()) != 2 || !strings.Contains(c.Notes()[0], "judge.average is ignored") || c.Judge.Patience != 3 {
		t.Errorf("notes %q, patience %d", c.Notes(), c.Judge.Patience)
	}
	plain := parse(t, "[judge]\npatience = 3\n")
	if len(plain.Notes()) != 0 || plain.Hash() != c.Hash() || !bytes.Equal(plain.TOML()[:80], c.TOML()[:80]) {
		t.Errorf("notes %q, or the hash depends on a key that is ignored", plain.Notes())
	}
	if strings.Contains(string(c.TOML()), "average") {
		t.Error("the key is still written")
	}
}
