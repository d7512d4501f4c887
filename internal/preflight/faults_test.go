package preflight

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

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/safetensors"
)

// plant is a fault that a check is there for. Exactly that check must speak.
type plant struct {
	name     string
	settings []string
	do       func(t *testing.T, c *checker)
	result   string
	codes    []string
	exit     int
}

func TestPlantedFaults(t *testing.T) {
	for _, plants := range [][]plant{modelFaults, textFaults, planFaults} {
		for _, tt := range plants {
			t.Run(tt.name, func(t *testing.T) {
				c := checked(t, newRun(t, tt.settings...))
				if tt.do != nil {
					tt.do(t, c)
				}
				rec, err := c.run(context.Background())
				if rec == nil {
					t.Fatal(err)
				}
				if got := spoken(rec); !slices.Equal(got, tt.codes) {
					t.Fatalf("%v speak, not %v: %+v", got, tt.codes, rec.Checks)
				}
				for _, k := range rec.Checks {
					if slices.Contains(tt.codes, k.Code) && (k.Result != tt.result || k.Advice == "") {
						t.Errorf("%+v", k)
					}
				}
				exit := 0
				var refused *Refusal
				if errors.As(err, &refused) {
					exit = refused.Exit
				}
				if exit != tt.exit {
					t.Errorf("exit code %d, want %d: %v", exit, tt.exit, err)
				}
			})
		}
	}
}

var modelFaults = []plant{
	{"the forward pass reads its answers", nil, func(_ *testing.T, c *checker) {
		c.Engine = &faulty{Engine: c.Engine, input: func(in *engine.Input, want engine.Want) {
			if want&engine.Gradient == 0 {
				in.Tokens = ahead(in)
			}
		}}
	}, resultError, []string{"P-LEAK"}, 3},
	{"the forward pass reads far ahead", nil, func(_ *testing.T, c *checker) {
		c.Engine = &faulty{Engine: c.Engine, input: func(in *engine.Input, want engine.Want) {
			if want&engine.Gradient != 0 {
				return
			}
			in.Tokens = slices.Clone(in.Tokens)
			for s := range in.Bounds[1:] {
				in.Tokens[in.Bounds[s]] = in.Tokens[in.Bounds[s+1]-1]
			}
		}}
	}, resultError, []string{"P-LEAK"}, 3},
	{"the backward pass reads its answers", nil, func(_ *testing.T, c *checker) {
		c.Engine = &faulty{Engine: c.Engine, input: func(in *engine.Input, want engine.Want) {
			if want&engine.Gradient != 0 {
				in.Tokens = ahead(in)
			}
		}}
	}, resultError, []string{"P-LEAK-GRADIENT"}, 3},
	{"a gradient reaches the embedding of a later token", nil, func(_ *testing.T, c *checker) {
		var last int32
		c.Engine = &faulty{Engine: c.Engine, input: func(in *engine.Input, _ engine.Want) {
			last = in.Tokens[len(in.Tokens)-1]
		}, report: func(r *engine.Report) {
			if r.Hashes != nil {
				r.Hashes[0] += uint64(last)
			}
		}}
	}, resultError, []string{"P-LEAK-GRADIENT"}, 3},
	{"documents see their neighbours", []string{"train.context=128"}, func(_ *testing.T, c *checker) {
		c.Engine = &faulty{Engine: c.Engine, input: func(in *engine.Input, want engine.Want) {
			if want&engine.Gradient == 0 && len(in.Tokens) <= c.Plan.Spec.Arch.Context {
				in.Bounds = []int32{0, int32(len(in.Tokens))}
			}
		}}
	}, resultError, []string{"P-INVARIANCE"}, 3},
	{"a device where nothing is wrong", nil, func(_ *testing.T, c *checker) { c.Plan.Hardware.Device = "cuda" }, "",
		nil,
		0},
	{"a device where documents hardly see their neighbours", nil, func(_ *testing.T, c *checker) {
		c.Plan.Hardware.Device = "cuda"
		first := int32(0)
		c.Engine = &faulty{Engine: c.Engine, input: func(in *engine.Input, _ engine.Want) {
			first = in.Tokens[0]
		}, values: func(v *engine.Values) {
			for i := range v.TokenNats {
				v.TokenNats[i] += 1e-9 * float64(first)
			}
		}}
	}, resultError, []string{"P-INVARIANCE"}, 3},
	{"mean of means", nil, meanOfMeans, resultError, []string{"P-INVARIANCE"}, 3},
	{"mean of means, and dropout", []string{"model.dropout=0.1"}, meanOfMeans, resultError, []string{"P-INVARIANCE"}, 3},
	{"initial weights ten times too large", nil, func(t *testing.T, c *checker) {
		s, err := c.Engine.Get()
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range s.Params {
			s.Params[i].Data = slices.Clone(e.Data)
			for j := range s.Params[i].Data {
				s.Params[i].Data[j] *= 10
			}
		}
		if err := c.Engine.Set(safetensors.Memory(s.Params), nil); err != nil {
			t.Fatal(err)
		}
	}, resultError, []string{"P-START-LOSS"}, 3},
	{"a kernel with a wrong element", nil, func(_ *testing.T, c *checker) {
		c.Opener = broken{c.Opener}
	}, resultError, []string{"P-KERNEL"}, 3},
	{"a kernel that is not the fastest", nil, func(_ *testing.T, c *checker) {
		c.Plan.Hardware.Warning = "the operating system does not save AVX-512 registers"
	}, resultWarning, []string{"P-KERNEL"}, 0},
}

// meanOfMeans gives every pass of a batch the same weight, however many labels it has.
func meanOfMeans(_ *testing.T, c *checker) {
	b := c.sequences(probeSequences)
	longest := slices.MaxFunc(b.Spans, func(a, b data.Span) int { return a.Len - b.Len }).Len
	passes := len(data.SplitMicro(nil, b, longest))
	c.Engine = &faulty{Engine: c.Engine, input: func(in *engine.Input, want engine.Want) {
		if want&engine.Gradient != 0 && in.Scale > 0 {
			in.Scale = 1 / float64(len(in.Tokens)*passes)
		}
	}}
}

var textFaults = []plant{
	{"labels shifted by one", nil, func(_ *testing.T, c *checker) {
		c.read = func(sp *data.Split, b *data.Batch, i int64) { sp.Read(b, i); copy(b.Labels, b.Tokens) }
	}, resultError, []string{"P-LABELS", "P-EOS"}, 4},
	{"no label counts", nil, func(_ *testing.T, c *checker) {
		c.read = func(sp *data.Split, b *data.Batch, i int64) { sp.Read(b, i); clear(b.Counts) }
	}, resultError, []string{"P-LABELS"}, 4},
	{"the ends of documents are lost", nil, func(_ *testing.T, c *checker) {
		c.read = func(sp *data.Split, b *data.Batch, i int64) {
			sp.Read(b, i)
			if last := len(b.Labels) - 1; b.Labels[last] == c.Text.Tok.EOS() {
				b.Labels[last] = 'x'
			}
		}
	}, resultError, []string{"P-EOS"}, 4},
	{"an end in the middle of a document", nil, func(_ *testing.T, c *checker) {
		c.read = func(sp *data.Split, b *data.Batch, i int64) {
			sp.Read(b, i)
			if len(b.Labels) > 8 {
				b.Labels[5], b.Tokens[6] = c.Text.Tok.EOS(), c.Text.Tok.EOS()
			}
		}
	}, resultError, []string{"P-EOS"}, 4},
	{"a sampler that repeats itself", nil, func(_ *testing.T, c *checker) {
		right := c.next
		c.next = func(step int64, b *data.Batch, cur data.Cursor) data.Cursor {
			after := right(step, b, data.Cursor{Batch: cur.Batch})
			after.Seq += cur.Seq
			return after
		}
	}, resultError, []string{"P-SAMPLER"}, 3},
	{"a sampler that stands still", nil, func(_ *testing.T, c *checker) {
		c.next = func(_ int64, b *data.Batch, cur data.Cursor) data.Cursor { b.Reset(); return cur }
	}, resultError, []string{"P-SAMPLER"}, 3},
}

var planFaults = []plant{
	{"a rate of zero", nil, func(_ *testing.T, c *checker) {
		c.rate = func(step int64) float64 { return c.Plan.RateAt(step) * float64(step-1) / float64(step) }
	}, resultError, []string{"P-LR-TRACE"}, 2},
	{"a rate that is no number", nil, func(_ *testing.T, c *checker) {
		c.rate = func(step int64) float64 {
			if step == 7 {
				return math.NaN()
			}
			return c.Plan.RateAt(step)
		}
	}, resultError, []string{"P-LR-TRACE"}, 2},
	{"a run that does not end at its floor", nil, func(_ *testing.T, c *checker) {
		c.rate = func(int64) float64 { return c.Plan.Rate.Schedule.Peak }
	}, resultError, []string{"P-LR-TRACE"}, 2},
	{"an exact warmup of half the run", []string{"schedule.warmup=6", "schedule.warmup_exact=true"}, nil,
		resultWarning, []string{"W-WARMUP-SHARE"}, 0},
	{"no warmup", []string{"schedule.warmup=0"}, nil, resultWarning, []string{"P-WARMUP-SHORT"}, 0},
	{"a restart shortly before the end", []string{"train.steps=100", "schedule.period=15"}, nil,
		resultError, []string{"P-RESTART-LATE"}, 2},
	{"the same, on purpose", []string{"train.steps=100", "schedule.period=15", "schedule.late_restart=true"}, nil,
		resultWarning, []string{"P-RESTART-LATE"}, 0},
	{"the same, when it goes on", []string{"train.steps=100", "schedule.period=15"}, func(_ *testing.T, c *checker) {
		c.Begun = true
	}, resultWarning, []string{"P-RESTART-LATE"}, 0},
	{"a full disk", nil, func(_ *testing.T, c *checker) {
		c.space = func(string) (uint64, error) { return 1000, nil }
	}, resultError, []string{"P-DISK"}, 6},
	{"a disk with room for one checkpoint", nil, func(_ *testing.T, c *checker) {
		c.space = func(string) (uint64, error) { return uint64(12*c.Plan.Params + stateOverhead), nil }
	}, resultWarning, []string{"P-DISK"}, 0},
	{"a disk that does not answer", nil, func(_ *testing.T, c *checker) {
		c.space = func(string) (uint64, error) { return 0, os.ErrPermission }
	}, resultWarning, []string{"P-DISK"}, 0},
	{"memory that is gone", nil, func(_ *testing.T, c *checker) {
		c.Plan.Memory.Writing += 1 << 40
		c.free = func() int64 { return 1 << 39 }
	}, resultError, []string{"P-MEMORY"}, 6},
	{"memory that is nearly gone", nil, func(_ *testing.T, c *checker) {
		c.Plan.Memory.Writing += 1 << 40
		c.free = func() int64 { return 9 << 37 }
	}, resultWarning, []string{"P-MEMORY"}, 0},
}

// Corpora with the faults that a check of the data is there for.
func TestFaultyText(t *testing.T) {
	speaks := func(kind string, files map[string]string, want ...string) {
		t.Helper()
		dir := t.TempDir()
		for name, body := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		rec, err := runOf(t, tiny(t, dir, "tokenizer.kind="+kind)).Check(context.Background())
		if err != nil {
			t.Error(err)
		} else if got := spoken(rec); !slices.Equal(got, want) {
			t.Errorf("%v speak, not %v: %+v", got, want, rec.Checks)
		}
	}
	var half strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		fmt.Fprintf(&half, "%c%c%c ", 'a'+r.IntN(26), 'a'+r.IntN(5), 'a'+r.IntN(26))
	}
	once, twice := half.String(), half.String()+half.String()
	speaks("bpe", map[string]string{"a.txt": once})
	speaks("bpe", map[string]string{"a.txt": twice}, "P-OVERLAP")
	speaks("bytes", map[string]string{"a.txt": twice}) // a run of letters says little

	files := map[string]string{}
	for i := range 26 {
		files[string(rune('a'+i))+".txt"] = strings.Repeat(string(rune('a'+i)), 40+i)
	}
	speaks("bytes", files)
	for i := range 13 {
		files[string(rune('a'+i))+"-copy.txt"] = files[string(rune('a'+i))+".txt"]
	}
	speaks("bytes", files, "P-DUPLICATES")
	// Split by position, and a copy on each side.
	speaks("bytes", map[string]string{"a.txt": strings.Repeat("one two three four five ", 20),
		"b.txt": strings.Repeat("six seven eight nine ten ", 100),
		"c.txt": strings.Repeat("one two three four five ", 20)}, "P-DUPLICATES")
	// A byte in a hundred is not UTF-8.
	speaks("bytes", map[string]string{"a.txt": strings.Repeat("caf\xe9 ", 20) + half.String()}, "P-DATA")
}
