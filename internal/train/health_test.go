package train

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/engine"
	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

// healthConfig is a model of four blocks that is trained for as long as the alarms need.
func healthConfig(t testing.TB, steps int, settings ...string) []string {
	t.Helper()
	return append([]string{"model.layers=4", "model.width=32", "model.mlp=64", "train.context=64",
		"train.batch_tokens=256", "train.micro_tokens=256",
		fmt.Sprintf("train.steps=%d", steps), "schedule.warmup=20", "optim.lr=0.003", "eval.every=1000000",
		"eval.prompts=4", "eval.samples=2"}, settings...)
}

// healthEvents are the alarms of health in a log, as "step code".
func healthEvents(l *runlog.Log) (all []string, events []runlog.Event) {
	for _, e := range runlog.All[runlog.Event](l) {
		if strings.HasPrefix(e.Code, "A") || strings.HasPrefix(e.Code, "W-") && e.Code != guard.CodeClipRegime &&
			e.Code != guard.CodeUpdateRatio {
			all, events = append(all, fmt.Sprintf("%d %s", e.Step, e.Code)), append(events, e)
		}
	}
	return all, events
}

// Sound runs of every shape, with a rate that falls to a thousandth, and with restarts, raise no alarm, and leave a
// record every 100 steps.
func TestHealthOfSoundRuns(t *testing.T) {
	for i, shape := range []string{"qwen3", "llama", "qwen2", "gpt2"} {
		t.Run(shape, func(t *testing.T) {
			schedule := [][]string{{"schedule.floor=0.001"}, {"schedule.kind=cosine-restarts", "schedule.period=90"}}[i%2]
			cfg := tiny(t, healthConfig(t, 300, append(schedule, "model.shape="+shape, fmt.Sprintf("train.seed=%d", i+1),
				fmt.Sprintf("model.tie=%v", i%2 == 0))...)...)
			r := finished(t, cfg, Options{})
			l := readLog(t, r.Dir)
			if alarms, events := healthEvents(l); len(alarms) > 0 {
				t.Errorf("alarms %v: %s", alarms, events[0].Message)
			}
			var steps []int64
			for _, rec := range runlog.All[runlog.Layers](l) {
				steps = append(steps, rec.Step)
				checkLayers(t, rec, 4)
			}
			if !slices.Equal(steps, []int64{1, 100, 200, 300}) {
				t.Errorf("records at steps %v", steps)
			}
		})
	}
}

// checkLayers holds that a record has every block and kind, and numbers that a sound model has.
func checkLayers(t *testing.T, rec runlog.Layers, layers int) {
	t.Helper()
	seen := map[string]bool{}
	for _, l := range rec.Layers {
		seen[fmt.Sprintf("%s %d", l.Tensor, l.Block)] = true
		if !(l.GradMean > 0 && l.GradRMS >= l.GradMean && l.GradMax >= l.GradRMS && l.UpdateRMS > 0) || l.NonFinite != 0 {
			t.Errorf("step %d: %+v", rec.Step, l)
		}
	}
	for l := range layers {
		for _, kind := range []string{"attn", "mlp", "norm"} {
			if !seen[fmt.Sprintf("%s %d", kind, l)] {
				t.Errorf("step %d: no %s of block %d", rec.Step, kind, l)
			}
		}
	}
	if !seen["embed -1"] || !seen["norm -1"] {
		t.Errorf("step %d: nothing of what is outside the blocks: %v", rec.Step, seen)
	}
	p := rec.Activations
	if len(p.Blocks) != layers || !(p.LogZ > 0) || !(p.EmbedRMS > 0) || !(rec.UpdateRatio > 0) || rec.Unread <= 0 {
		t.Fatalf("step %d: %+v, activations %+v", rec.Step, rec, p)
	}
	for _, b := range p.Blocks {
		if !(b.StreamRMS > 0 && b.Peak > 1 && b.ScoreMax > 0 && len(b.Entropy) == 2 && b.Entropy[0] > 0 &&
			b.Entropy[0] <= 1) || math.IsNaN(float64(b.Kept)) {
			t.Errorf("step %d: %+v", rec.Step, b)
		}
	}
}

// Each fault in a real model raises the alarm that is named, in the block where it is, and no other.
func TestHealthNamesFaults(t *testing.T) {
	plant := func(kind engine.FaultKind, block int) func(*testing.T, *run) {
		return func(_ *testing.T, r *run) { r.engine.(engine.Planter).Plant(engine.Fault{Kind: kind, Block: block}) }
	}
	scale := func(block int) func(*testing.T, *run) {
		return func(_ *testing.T, r *run) {
			r.engine.(engine.Planter).Harm(engine.Fault{Kind: engine.ScaleBlock, Block: block, Factor: 0.01})
		}
	}
	zero := func(tensor string) func(*testing.T, *run) {
		return func(t *testing.T, r *run) {
			found := false
			change(t, r.engine, func(name string, values []float32) {
				if name == tensor {
					clear(values)
					found = true
				}
			})
			if !found {
				t.Fatalf("no tensor %s", tensor)
			}
		}
	}
	tests := []struct {
		name  string
		shape string
		steps int
		plant func(*testing.T, *run) // before the first step
		each  func(*testing.T, *run) // after each
		want  string
		block float64
		says  string
	}{
		{name: "residual path removed at the start", steps: 20, plant: plant(engine.CutResidual, 2),
			want: "1 W-RESIDUAL-CUT", block: 2},
		{name: "residual path removed, other shape", shape: "gpt2", steps: 20, plant: plant(engine.CutResidual, 0),
			want: "1 W-RESIDUAL-CUT", block: 0},
		{name: "block 0 starts a hundredth as large", steps: 20, plant: scale(0), want: "1 A2-BOTTOM-STARVED", block: 0,
			says: "initialisation"},
		{name: "the same, other shape", shape: "gpt2", steps: 20, plant: scale(0), want: "1 A2-BOTTOM-STARVED", block: 0},
		{name: "gradient stopped between blocks 0 and 1", steps: 200, plant: plant(engine.StopGradient, 1),
			want: "1 A1-ZERO-GRAD, 200 A1-ZERO-GRAD", block: 0, says: "frozen"},
		{name: "one gain is zero", steps: 100, plant: zero("model.layers.1.input_layernorm.weight"), want: "1 A1-ZERO-GRAD",
			block: 1,
			says:  "initialisation"},
		// Nothing reaches q where the gain of its norm is zero, and the gain is held there.
		{name: "one tensor is frozen", steps: 200, plant: zero("model.layers.3.self_attn.q_norm.weight"),
			each: zero("model.layers.3.self_attn.q_norm.weight"), want: "1 A1-ZERO-GRAD, 200 A1-ZERO-GRAD", block: 3,
			says: "q_proj"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			shape := tt.shape
			if shape == "" {
				shape = "qwen3"
			}
			tr := newRun(t, tiny(t, healthConfig(t, tt.steps, "model.shape="+shape, "guard.mode=observe")...), Options{})
			tt.plant(t, tr)
			var got []string
			var last runlog.Event
			tr.record.hooks.Event = func(e runlog.Event) {
				if strings.HasPrefix(e.Code, "A") || strings.HasPrefix(e.Code, "W-RES") || strings.HasPrefix(e.Code, "W-ATTN") ||
					strings.HasPrefix(e.Code, "W-DEAD") {
					got, last = append(got, fmt.Sprintf("%d %s", e.Step, e.Code)), e
				}
			}
			for range tt.steps {
				if _, _, err := tr.step(context.Background()); err != nil {
					t.Fatal(err)
				}
				if tt.each != nil {
					tt.each(t, tr)
				}
			}
			if strings.Join(got, ", ") != tt.want {
				t.Fatalf("alarms %v, want %s; %s", got, tt.want, last.Message)
			}
			if float64(last.Numbers["block"]) != tt.block || !strings.Contains(last.Message, tt.says) {
				t.Errorf("block %v, want %v; %q has no %q", last.Numbers["block"], tt.block, last.Message, tt.says)
			}
		})
	}
}

// Layered clipping acts after 100 steps, and what health and clipping remember goes through a resume: the log of a run
// that was killed has the same looks, and its weights are the same.
func TestHealthAndLayeredClippingSurviveAKill(t *testing.T) {
	cfg := tiny(t, healthConfig(t, 220, "optim.agc=true", "checkpoint.every=50", "guard.mode=observe")...)
	whole := finished(t, cfg, Options{})
	l := readLog(t, whole.Dir)
	clipped := 0
	for _, s := range runlog.All[runlog.Step](l) {
		if s.ClippedTensors > 0 && s.Step <= 100 {
			t.Errorf("step %d: %d tensors clipped before they are known", s.Step, s.ClippedTensors)
		}
		clipped += s.ClippedTensors
	}
	if clipped == 0 {
		t.Error("no tensor was ever clipped")
	}
	if n := len(runlog.All[runlog.Layers](l)); n != 3 {
		t.Errorf("%d looks, want 3", n)
	}
	dir := filepath.Join(t.TempDir(), "run")
	interruptAfter(t, dir, 130, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h})
		return err
	})
	if _, err := Resume(context.Background(), dir, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	sameRun(t, whole.Dir, dir, 220)
}
