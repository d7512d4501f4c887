package gimbal_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gimbal"
	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/param"
	"gimbal/internal/rng"
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

// Ids of the special tokens of knows.
const (
	textEnd = 256 + iota // <|endoftext|>
	turn                 // <|im_start|>
	turnEnd              // <|im_end|>
	begin                // <|begin_of_text|>
)

const bosFirst = `{"type": "TemplateProcessing", "single": [` +
	`{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], ` +
	`"pair": [], "special_tokens": {}}`

// knows writes a model directory of others: a Llama that writes "a" after <|begin_of_text|>, and the end after
// anything else. files are added to it, or take the place of its own.
func knows(t *testing.T, end int, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	arch := config.Arch{Shape: "llama", Layers: 1, Width: 4, Heads: 2, KVHeads: 2, HeadSize: 2, MLP: 4, Vocab: 260,
		Context: 64, Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 1e4, MLPKind: "swiglu"}
	p := param.New[float32](arch)
	key := rng.New(1, rng.Init)
	for _, v := range p.Views { // blocks add next to nothing
		for i := v.Lo; i < v.Hi; i++ {
			p.Flat[i] = float32(0.05 * key.Normal(uint64(i)))
			if v.Kind == param.KindNorm {
				p.Flat[i] = 1
			}
		}
	}
	embed, head := p.Tensor("model.embed_tokens.weight"), p.Tensor("lm_head.weight")
	for id := range arch.Vocab {
		embed[id*4], embed[id*4+1] = 0, 1
	}
	embed[begin*4], embed[begin*4+1] = 1, 0
	head['a'*4], head[end*4+1] = 10, 10
	conf, err := family.Config(arch, textEnd, -1, "float32")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.NewBytes().WithSpecial("<|im_start|>", "<|im_end|>", "<|begin_of_text|>").JSON()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"config.json": string(conf), "tokenizer.json": strings.Replace(string(tok),
		`"post_processor": null`, `"post_processor": `+bosFirst, 1)}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := safetensors.Write(f, param.Entries(p), nil, "F32"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// writes returns what the model at path writes after nothing, and why it ends.
func writes(t *testing.T, path string) string {
	t.Helper()
	m, err := gimbal.Open(path, gimbal.OpenOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	texts, err := m.Generate(t.Context(), "", gimbal.GenerateOptions{Greedy: true, MaxTokens: 5})
	if err != nil {
		t.Fatal(err)
	}
	return texts[0].Text + " " + string(texts[0].Finish)
}

// documents writes the text "a" n times, as documents.
func documents(t *testing.T, line string) string {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	name := filepath.Join(t.TempDir(), "a.jsonl")
	var lines strings.Builder
	for i := range 60 {
		lines.WriteString(strings.ReplaceAll(line, "%", strconv.Itoa(i)) + "\n")
	}
	if err := os.WriteFile(name, []byte(lines.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestModelBeginsAsItWasMade: sample, score, eval and train begin texts with the token that the model was made for,
// and so does what comes of them.
func TestModelBeginsAsItWasMade(t *testing.T) {
	dir, text := knows(t, textEnd, nil), documents(t, `{"text": "a"}`)
	check := func(what, path string) {
		t.Helper()
		if got := writes(t, path); got != "a eos" {
			t.Errorf("%s: writes %q", what, got)
		}
		m, err := gimbal.Open(path, gimbal.OpenOptions{Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if s, err := m.Score(t.Context(), "a"); err != nil || s.Loss > 0.1 {
			t.Errorf("%s: scored %+v, %v", what, s, err)
		}
		r, err := gimbal.Evaluate(t.Context(), path, gimbal.EvalOptions{Data: []string{text}, LossOnly: true, Workers: 1})
		if err != nil || r.Loss > 0.1 {
			t.Errorf("%s: evaluated %+v, %v", what, r, err)
		}
	}
	check("a directory", dir)
	in, err := gimbal.Import(t.Context(), dir, gimbal.ImportOptions{Out: filepath.Join(t.TempDir(), "in")})
	if err != nil {
		t.Fatal(err)
	}
	check("imported", in.Dir)
	run, notes := trainFrom(t, in.Dir, text)
	if !strings.Contains(notes, `documents begin with "<|begin_of_text|>" and end with "<|endoftext|>"`) {
		t.Errorf("told:\n%s", notes)
	}
	check("a run", run)
	out := filepath.Join(t.TempDir(), "out")
	if _, err := gimbal.Export(t.Context(), run, out, gimbal.ExportOptions{Checkpoint: "last"}); err != nil {
		t.Fatal(err)
	}
	check("exported", out)
	again, _ := trainFrom(t, out, text)
	check("trained again", again)

	// A setting wins, is told, and what is saved agrees with it.
	other, notes := trainFrom(t, in.Dir, text, "data.start=eos")
	if !strings.Contains(notes, `warning: documents begin with "<|endoftext|>" (data.start is eos, --set)`) {
		t.Errorf("told:\n%s", notes)
	}
	saved := filepath.Join(other, "checkpoints", "step-2")
	for name, want := range map[string]string{"tokenizer.json": `"post_processor": null`,
		"tokenizer_config.json": `"add_bos_token": false`, "config.json": `"bos_token_id": 256`,
		"generation_config.json": `"bos_token_id": 256`} {
		if data, err := os.ReadFile(filepath.Join(saved, name)); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s lacks %s: %v\n%s", name, want, err, data)
		}
	}
	for _, path := range []string{other, saved} {
		if got := writes(t, path); got != " eos" {
			t.Errorf("%s begins with the end of a text and writes %q", path, got)
		}
	}
}

// trainFrom makes two steps from a model, and returns the run and what was told.
func trainFrom(t *testing.T, from, text string, set ...string) (run, notes string) {
	t.Helper()
	run = filepath.Join(t.TempDir(), "run")
	var told strings.Builder
	_, err := gimbal.Train(t.Context(), gimbal.TrainOptions{From: from, Data: []string{text}, Steps: 2, Out: run,
		Workers: 1, Set: append([]string{"train.context=32", "train.batch_tokens=64", "optim.lr=1e-7", "eval.max_tokens=4"},
			set...), Progress: func(p gimbal.Progress) {
			if n, ok := p.(gimbal.Note); ok {
				told.WriteString(string(n) + "\n")
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	return run, told.String()
}

// TestEveryEndStops: whichever file names an end, what the model writes stops there, also after an import, an export
// and a run.
func TestEveryEndStops(t *testing.T) {
	text := documents(t, `{"text": "a%"}`)
	const gen = "generation_config.json"
	for name, c := range map[string]struct {
		end   int
		files map[string]string
	}{
		"a list":                  {turnEnd, map[string]string{gen: `{"eos_token_id": [256, 258], "top_p": 0.9}`}},
		"a number in one file":    {turnEnd, map[string]string{gen: `{"eos_token_id": 258}`}},
		"an ordinary token":       {'z', map[string]string{gen: `{"eos_token_id": [256, 122]}`}},
		"the tokenizer's files":   {turnEnd, map[string]string{"special_tokens_map.json": `{"eos_token": "<|im_end|>"}`}},
		"the template of a model": {turnEnd, map[string]string{"chat_template.jinja": "{{ '<|im_end|>' }}"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, at := knows(t, c.end, c.files), t.TempDir()
			in, err := gimbal.Import(t.Context(), dir, gimbal.ImportOptions{Out: filepath.Join(at, "in")})
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(at, "out")
			if _, err := gimbal.Export(t.Context(), in.Dir, out, gimbal.ExportOptions{}); err != nil {
				t.Fatal(err)
			}
			run, _ := trainFrom(t, dir, text)
			for _, path := range []string{dir, in.Dir, out, run} {
				if got := writes(t, path); got != "a eos" {
					t.Errorf("%s writes %q", path, got)
				}
			}
			r, err := gimbal.Evaluate(t.Context(), dir, gimbal.EvalOptions{Data: []string{text}, Workers: 1})
			if err != nil || r.Writing == nil || slices.ContainsFunc(r.Writing.Samples, func(s gimbal.Sample) bool {
				return s.Finish != "eos"
			}) {
				t.Errorf("eval wrote %+v, %v", r, err)
			}
			if c.files[gen] == "" || name != "a list" {
				return
			}
			var kept map[string]any
			data, err := os.ReadFile(filepath.Join(run, "checkpoints", "step-2", gen))
			if err != nil || json.Unmarshal(data, &kept) != nil || kept["top_p"] != 0.9 {
				t.Errorf("%s of the run is %s, %v", gen, data, err)
			}
		})
	}
}

// TestFromHasItsOwnTokenizer refuses settings of the tokenizer beside a model.
func TestFromHasItsOwnTokenizer(t *testing.T) {
	dir, text := knows(t, textEnd, nil), documents(t, `{"text": "a%"}`)
	for set, want := range map[string]string{"tokenizer.kind=chars": "chars is not the bytes of",
		"tokenizer.vocab_size=500": "500 is not the 260 of", "tokenizer.path=t.json": "is not read: the weights of"} {
		_, err := gimbal.Train(t.Context(), gimbal.TrainOptions{From: dir, Data: []string{text}, Steps: 2,
			Out: filepath.Join(t.TempDir(), "run"), Set: []string{set, "train.context=32", "train.batch_tokens=64"}})
		if key, _, _ := strings.Cut(set, "="); err == nil || !strings.Contains(err.Error(), key) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", set, err)
		}
	}
}

// TestFromTakesTheRunsConfiguration starts again from a run with the configuration that it wrote, as the last lines of
// a stopped run advise, however the run came to its tokenizer.
func TestFromTakesTheRunsConfiguration(t *testing.T) {
	dir, text := knows(t, textEnd, nil), documents(t, `{"text": "a%"}`)
	small := []string{"train.context=32", "train.batch_tokens=64", "model.layers=1", "model.width=16", "model.heads=1",
		"eval.max_tokens=4"}
	for name, c := range map[string]struct {
		from string
		set  []string
	}{
		"a model's": {from: dir},
		"a file's":  {set: []string{"tokenizer.path=" + filepath.Join(dir, "tokenizer.json")}},
		"bytes":     {set: []string{"tokenizer.kind=bytes"}},
		"trained":   {},
	} {
		set := small
		if c.from != "" {
			set = []string{small[0], small[1], small[5]}
		}
		opt := gimbal.TrainOptions{From: c.from, Data: []string{text}, Steps: 2, Out: filepath.Join(t.TempDir(), "run"),
			Set: append(set[:len(set):len(set)], c.set...)}
		if _, err := gimbal.Train(t.Context(), opt); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again := gimbal.TrainOptions{Config: filepath.Join(opt.Out, "config.toml"), From: opt.Out, Steps: 2,
			Out: filepath.Join(t.TempDir(), "again")}
		if _, err := gimbal.Train(t.Context(), again); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
