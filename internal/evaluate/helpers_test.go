package evaluate

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/chat"
	"gimbal/internal/config"
	"gimbal/internal/corpus"
	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/generate"
	"gimbal/internal/judge"
	"gimbal/internal/par"
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

const testContext = 32

// grammar writes documents of a small language: enough structure to learn in a few steps.
func grammar(t testing.TB, documents int) string {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range documents {
		var b strings.Builder
		for range 3 + r.IntN(12) {
			n := 1 + r.IntN(5)
			what := []string{"cat", "dog"}[r.IntN(2)] + strings.Repeat("s", min(1, n-1))
			fmt.Fprintf(&b, "%s sees %d %s. ", []string{"ann", "bob", "eve"}[r.IntN(3)], n, what)
		}
		put(t, filepath.Join(dir, fmt.Sprintf("doc%03d.txt", i)), b.String())
	}
	return dir
}

// chats writes conversations, of which only the answers count.
func chats(t testing.TB, n int) string {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var b strings.Builder
	for i := range n {
		raw, err := json.Marshal(map[string]any{"messages": []map[string]string{
			{"role": "user", "content": strings.Repeat("how many? ", 1+i%4)},
			{"role": "assistant", "content": fmt.Sprint(i)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(raw, '\n'))
	}
	path := filepath.Join(t.TempDir(), "chats.jsonl")
	put(t, path, b.String())
	return path
}

func put(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// openText prepares the text at path in bytes, with a part of it held out; 0: it is other text, all of which is held
// out.
func openText(t testing.TB, path string, valFraction float64) *data.Text {
	t.Helper()
	docs, err := corpus.Discover([]string{path}, corpus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := &data.Text{Docs: docs, Tok: tokenizer.NewBytes()}
	if docs.HasChat() {
		text.Tok = text.Tok.WithSpecial(chat.RoleTokens...)
	}
	text.Set, err = data.Prepare(t.Context(), docs, text.Tok, data.PrepareOptions{ValFraction: valFraction})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { text.Set.Close() })
	if valFraction == 0 {
		text.Val = text.Set.All(testContext)
		return text
	}
	text.Train, text.Val = text.Set.Train(testContext), text.Set.Val(testContext)
	return text
}

// fakeEngine has a script instead of a model: the nats of each label that counts, and what follows each token.
type fakeEngine struct {
	engine.Engine // what an evaluation must not call
	nats          func(label int32) float64
	next          func(token int32) int32
	onPass        func(n int) error // before pass n, from 0
	onDecode      func(n int) error // before call n of a decoder, from 0

	vocab   int
	context int
	pool    *par.Pool
	passes  []engine.Input
	sizes   [][2]int // of decoders: rows and capacity
	decoder *fakeDecoder
	closed  bool
}

// newFake returns an engine with a loss of one nat a label, that writes the letters in their order, for ever.
func newFake(t testing.TB, text *data.Text) *fakeEngine {
	t.Helper()
	pool := par.New(1)
	t.Cleanup(pool.Close)
	return &fakeEngine{
		nats:  func(int32) float64 { return 1 },
		next:  func(token int32) int32 { return 'a' + (max(token, 'a')-'a'+1)%26 },
		vocab: text.Tok.VocabSize(), context: testContext, pool: pool,
	}
}

func (f *fakeEngine) Info() engine.Info {
	return engine.Info{Arch: config.Arch{Layers: 1, Width: 8, Heads: 1, KVHeads: 1, HeadSize: 8, MLP: 8,
		Vocab: f.vocab, Context: f.context}}
}

func (f *fakeEngine) Pass(_ context.Context, in engine.Input, want engine.Want) (v engine.Values, err error) {
	if want != engine.Nats|engine.PerToken {
		panic("evaluate: an evaluation wants nats and nothing else")
	}
	if f.onPass != nil {
		if err := f.onPass(len(f.passes)); err != nil {
			return v, err
		}
	}
	in.Tokens, in.Labels = append([]int32(nil), in.Tokens...), append([]int32(nil), in.Labels...)
	f.passes = append(f.passes, in)
	v.TokenNats = make([]float64, len(in.Labels))
	for i, label := range in.Labels {
		if in.Counts[i] {
			v.TokenNats[i] = f.nats(label)
			v.Nats += v.TokenNats[i]
		}
	}
	return v, nil
}

// holding is how many passes hold the first n sequences.
func (f *fakeEngine) holding(n int) (passes int) {
	for ; n > 0; passes++ {
		n -= len(f.passes[passes].Bounds) - 1
	}
	return passes
}

func (f *fakeEngine) Decoder(rows, capacity int) (generate.Decoder, error) {
	f.sizes = append(f.sizes, [2]int{rows, capacity})
	f.decoder = &fakeDecoder{engine: f, capacity: capacity, rows: make([][]int32, rows)}
	return f.decoder, nil
}

func (f *fakeEngine) Set(_, _ *safetensors.File) error { return nil }
func (f *fakeEngine) Close() error                     { f.closed = true; return nil }

// fakeDecoder gives all probability to the token that the engine's script has next.
type fakeDecoder struct {
	engine    *fakeEngine
	capacity  int
	rows      [][]int32 // what each holds
	prompts   [][]int32 // every call with more than one token of a row
	refreshed int
	calls     int
}

func (d *fakeDecoder) Refresh()            { d.refreshed++ }
func (d *fakeDecoder) Vocab() int          { return d.engine.vocab }
func (d *fakeDecoder) Rows() int           { return len(d.rows) }
func (d *fakeDecoder) Capacity() int       { return d.capacity }
func (d *fakeDecoder) Len(row int) int     { return len(d.rows[row]) }
func (d *fakeDecoder) Truncate(row, n int) { d.rows[row] = d.rows[row][:n] }
func (d *fakeDecoder) Pool() *par.Pool     { return d.engine.pool }

func (d *fakeDecoder) Decode(_ context.Context, tokens, rows []int32, logits []float32) error {
	if d.engine.onDecode != nil {
		if err := d.engine.onDecode(d.calls); err != nil {
			return err
		}
	}
	d.calls++
	for i := 0; i < len(tokens); {
		row, first := rows[i], i
		for ; i < len(tokens) && rows[i] == row; i++ {
			d.rows[row] = append(d.rows[row], tokens[i])
		}
		if i-first > 1 {
			d.prompts = append(d.prompts, append([]int32(nil), tokens[first:i]...))
		}
		clear(logits[:d.engine.vocab])
		logits[d.engine.next(tokens[i-1])] = 1e6
		logits = logits[d.engine.vocab:]
	}
	return nil
}

// options are those of a small evaluation.
func options(e engine.Engine, text *data.Text) Options {
	return Options{
		Engine: e, Text: text, Own: true, MicroTokens: 128, Seed: 7, SampleSize: 500,
		Start: StartToken(text.Tok, "eos"), Samples: judge.PlanFor(6, 3, 12, testContext-1),
	}
}
