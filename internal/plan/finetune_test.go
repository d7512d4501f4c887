package plan

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/engine"
)

// TestTune: what nobody chose suits weights that are trained; what somebody chose stays.
func TestTune(t *testing.T) {
	arch := config.Arch{Shape: "qwen3", Width: 128, Context: 512, Position: "rope"}
	for _, c := range []struct {
		name          string
		have, longest int64
		set           string
		key, want     string
	}{
		{"rate", 50_000, 900, "", "optim.lr", "finetune"},
		{"rate given", 50_000, 900, "optim.lr=0.001", "optim.lr", "0.001"},
		{"decay", 50_000, 900, "", "optim.weight_decay", "0.01"},
		{"no restarts", 50_000, 900, "", "schedule.kind", "cosine"},
		{"schedule given", 50_000, 900, "schedule.kind=linear", "schedule.kind", "linear"},
		{"warmup", 50_000, 900, "", "schedule.warmup", "finetune"},
		{"warmup of the article", 50_000, 900, "schedule.warmup=article", "schedule.warmup", "article"},
		{"the model's context", 50_000, 900, "", "train.context", "512"},
		{"no longer than the text", 50_000, 100, "", "train.context", "128"},
		{"three passes", 50_000, 900, "", "train.steps", "100"}, // of 1,500 tokens
		{"two passes", 2 << 20, 900, "train.batch_tokens=8192", "train.steps", "512"},
		{"one pass", 10 << 20, 900, "train.batch_tokens=8192", "train.steps", "1280"},
		{"steps given", 50_000, 900, "train.steps=7", "train.steps", "7"},
		{"a budget plans the steps", 50_000, 900, "train.budget=3", "train.steps", "auto"},
		{"preferences", 50_000, 900, "train.objective=dpo", "optim.lr", "5e-06"},
		{"preferences do not decay", 50_000, 900, "train.objective=dpo", "optim.weight_decay", "0"},
		{"preferences are seen once", 500_000, 900, "train.objective=dpo", "train.steps", "100"},
		{"room for a pair", 50_000, 900, "train.objective=dpo", "train.batch_tokens", "1024"},
		{"small text, small batches", 50_000, 900, "", "train.batch_tokens", "1500"},
	} {
		var sets []config.Assignment
		if c.set != "" {
			sets = append(sets, config.Set(c.set))
		}
		cfg, err := config.Load("", sets)
		if err != nil {
			t.Fatal(err)
		}
		d := &Draft{Config: cfg, arch: &arch}
		if err := d.tune(c.have, c.longest); err != nil {
			t.Fatal(err)
		}
		if got, _ := cfg.Value(c.key); got != c.want {
			t.Errorf("%s: %s is %s, want %s", c.name, c.key, got, c.want)
		}
		if origin := cfg.Origin(c.key); c.set == "" && !strings.HasPrefix(origin, "planned: ") {
			t.Errorf("%s: %s has the origin %q", c.name, c.key, origin)
		}
	}
}

// TestShorter: the context that tune chose is halved until the run fits the memory; one that was given is not.
func TestShorter(t *testing.T) {
	hungry := machine{model: func(s engine.Spec) int64 { return int64(s.Arch.Context) << 20 }}
	hungry.hw.Free = 300 << 20
	for _, given := range []bool{false, true} {
		d := draft(t, asked(t, "train.context=256", "train.batch_tokens=512"))
		if !given {
			if err := d.Config.SetPlanned("train.context", 256, ownContext+" 256 positions"); err != nil {
				t.Fatal(err)
			}
		}
		p, err := d.Make(context.Background(), Request{Opener: hungry})
		switch {
		case given && err == nil:
			t.Error("a context that was given was changed")
		case !given && err != nil:
			t.Error(err)
		case !given && (p.Config.Train.Context != 128 || d.Text.Train.Context() != 128):
			t.Errorf("the context is %d, that of the text %d", p.Config.Train.Context, d.Text.Train.Context())
		}
	}
}

// The base of an adapter is held as in its file, unless somebody says otherwise; 8 bits are for the CPU.
func TestAdapterBase(t *testing.T) {
	arch := config.Arch{Shape: "qwen3", Layers: 1, Width: 8, Heads: 2, KVHeads: 1, HeadSize: 4, MLP: 8}
	for _, c := range []struct {
		set, device string
		base16      bool
		want        string
	}{
		{"adapter.rank=2", "", false, "fp32"},
		{"adapter.rank=2", "", true, "bf16"},
		{"adapter.base=int8", "", true, "int8"},
		{"adapter.base=int8", "cuda", true, "adapter.base: int8 is for the CPU"},
	} {
		p := &Plan{Hardware: engine.Hardware{Device: c.device}}
		p.Spec.Arch = arch
		var err error
		p.Config, err = config.Load("", []config.Assignment{config.Set("train.adapter=lora"), config.Set(c.set)})
		if err != nil {
			t.Fatal(err)
		}
		err = p.chooseAdapter(&Draft{arch: &arch, base16: c.base16})
		if got := fmt.Sprint(p.Spec.Adapter.Base, err); !strings.Contains(got, c.want) || err != nil && c.device == "" {
			t.Errorf("%s %s: %s, want %s", c.set, c.device, got, c.want)
		}
	}
}

// Settings of fine-tuning say that they do nothing where nothing is tuned.
func TestTuneUnused(t *testing.T) {
	p := made(t, machine{}, "eval.keep=old.txt", "adapter.rank=8")
	told := strings.Join(p.Warnings, "\n")
	for _, want := range []string{"eval.keep (--set) is not used", "adapter.rank (--set) is not used"} {
		if !strings.Contains(told, want) {
			t.Errorf("no word of %q in\n%s", want, told)
		}
	}
	if told := strings.Join(made(t, machine{}).Warnings, "\n"); strings.Contains(told, "is not used") {
		t.Errorf("without such settings: %s", told)
	}
}
