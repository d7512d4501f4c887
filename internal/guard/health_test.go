package guard

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const healthLayers = 6

// sound is what a sound run looks like at a step: gradients larger at the bottom, updates near their equilibrium, and a
// stream that grows slowly. The rate falls to a tenth of its peak by the end of 3,000 steps.
func sound(step int64) HealthCheck {
	rate := 1e-3 * (0.55 + 0.45*math.Cos(math.Pi*float64(step)/3000))
	c := HealthCheck{Step: step, Warmup: 100, Layers: healthLayers, Loss: 2 + 2*math.Exp(-float64(step)/500), LR: rate,
		PeakLR: 1e-3, WeightDecay: 0.1}
	wobble := 1 + 0.3*math.Sin(float64(step))
	add := func(name, kind string, block int, matrix bool, grad float64) {
		c.Tensors = append(c.Tensors, TensorHealth{Name: name, Block: block, Kind: kind, Matrix: matrix, Len: 1000,
			GradMean: grad * wobble, GradRMS: 1.4 * grad * wobble,
			GradMax: 9 * grad * wobble, WeightRMS: 0.05, UpdateRMS: 0.05 * math.Sqrt(2*rate*0.1) / 2})
	}
	add("embed", "embed", -1, true, 3e-3)
	p := &ProbeHealth{Tokens: 256, Stream: []float64{0.03}, LogZ: 5}
	for l := range healthLayers {
		g := 1e-3 / float64(l+1)
		for _, name := range []string{"q", "k", "v", "o"} {
			add(fmt.Sprintf("block.%d.%s", l, name), "attn", l, true, g)
		}
		add(fmt.Sprintf("block.%d.gate", l), "mlp", l, true, g/3)
		add(fmt.Sprintf("block.%d.down", l), "mlp", l, true, g/2)
		add(fmt.Sprintf("block.%d.norm", l), "norm", l, false, g)
		grown := min(2, 1+float64(step)/100)
		p.Stream = append(p.Stream, 0.03*math.Pow(grown, float64(l+1)))
		p.Kept, p.Logit, p.Dead = append(p.Kept, 1.1), append(p.Logit, 8), append(p.Dead, 0.01)
		p.Entropy = append(p.Entropy, 0.5, 0.4)
	}
	add("norm", "norm", -1, false, 1e-3)
	add("head", "head", -1, true, 3e-3)
	c.Probe = p
	return c
}

// each applies f to the tensors of a block, or of all blocks for block -2, whose names end in suffix.
func (c HealthCheck) each(block int, suffix string, f func(t *TensorHealth)) {
	for i := range c.Tensors {
		if t := &c.Tensors[i]; (block == -2 || t.Block == block) && strings.HasSuffix(t.Name, suffix) {
			f(t)
		}
	}
}

func noGrad(t *TensorHealth) { t.GradMean, t.GradRMS, t.GradMax = 0, 0, 0 }

func scaleGrad(by float64) func(t *TensorHealth) {
	return func(t *TensorHealth) { t.GradMean, t.GradRMS, t.GradMax = by*t.GradMean, by*t.GradRMS, by*t.GradMax }
}

// from applies a fault from a step on.
func from(step int64, f func(c *HealthCheck)) func(c *HealthCheck) {
	return func(c *HealthCheck) {
		if c.Step >= step {
			f(c)
		}
	}
}

// runHealth checks steps 1 to 3,000 as a run does, with fault applied, and returns the events by step.
func runHealth(fault func(c *HealthCheck)) map[int64][]Event {
	events := map[int64][]Event{}
	var s HealthState
	for step := int64(1); step <= 3000; step++ {
		c := sound(step)
		switch {
		case step == 1 || step%100 == 0:
		case step <= 50 && step%10 == 0:
			c.Tensors = nil
		default:
			continue
		}
		fault(&c)
		var e []Event
		if s, e = Health(s, c); len(e) > 0 {
			events[step] = e
		}
	}
	return events
}

func TestHealthOfASoundRun(t *testing.T) {
	if events := runHealth(func(*HealthCheck) {}); len(events) > 0 {
		t.Errorf("alarms in a sound run: %v", events)
	}
}

// Each planted fault raises its own alarm, at the step where it must and at no other, and no other alarm.
func TestHealthAlarms(t *testing.T) {
	nan := math.NaN()
	at := func(step int64, f func(c *HealthCheck)) func(c *HealthCheck) {
		return func(c *HealthCheck) {
			if c.Step == step {
				f(c)
			}
		}
	}
	tests := []struct {
		name  string
		fault func(c *HealthCheck)
		want  string // step code severity, comma separated
		says  []string
	}{
		{"gradient stopped below block 2", from(150, func(c *HealthCheck) {
			for l := range 2 {
				c.each(l, "", noGrad)
			}
		}), "400 A1-ZERO-GRAD error", []string{"block.1.q (block 1)", "13 other tensors", "suspect: frozen"}},
		{"one frozen tensor", from(150, func(c *HealthCheck) { c.each(3, "norm", noGrad) }), "400 A1-ZERO-GRAD error",
			[]string{"block.3.norm (block 3)"}},
		{"zero for two checks only", func(c *HealthCheck) {
			if c.Step == 200 || c.Step == 300 {
				c.each(3, "o", noGrad)
			}
		}, "", nil},
		{"one gain is zero at first", at(1, func(c *HealthCheck) {
			for _, n := range []string{"q", "k", "v", "o"} {
				c.each(2, n, noGrad)
			}
		}), "1 A1-ZERO-GRAD warning", []string{"block.2.q", "suspect: initialisation"}},
		{"block 0 starts a hundredth as large", at(1, func(c *HealthCheck) { c.each(0, "", scaleGrad(3e-3)) }),
			"1 A2-BOTTOM-STARVED warning", []string{"block 0", "suspect: initialisation"}},
		{"block 0 starts much smaller", at(1, func(c *HealthCheck) { c.each(0, "", scaleGrad(1e-4)) }),
			"1 A2-BOTTOM-STARVED error", []string{"block 0"}},
		{"the bottom starves later", from(700, func(c *HealthCheck) {
			c.each(0, "gate", scaleGrad(5e-3))
			c.each(0, "down", scaleGrad(5e-3))
			c.each(1, "gate", scaleGrad(5e-3))
			c.each(1, "down", scaleGrad(5e-3))
		}), "700 A4-FALLING warning, 800 A2-BOTTOM-STARVED warning", []string{"mlp"}},
		{"for one check only", at(200, func(c *HealthCheck) { c.each(0, "", scaleGrad(3e-3)) }), "", nil},
		{"the backward pass explodes", from(300, func(c *HealthCheck) {
			c.each(0, "o", scaleGrad(900))
			c.each(1, "o", scaleGrad(900))
		}), "300 A3-EXPLODING warning", []string{"attn"}},
		{"a block goes silent", from(1000, func(c *HealthCheck) { c.each(4, "", scaleGrad(0.03)) }),
			"1000 A4-FALLING warning", []string{"block 4"}},
		{"all blocks go silent and the loss stays", from(1000, func(c *HealthCheck) { c.each(-2, "", scaleGrad(0.03)) }),
			"1000 A4-FALLING warning", []string{"20 other groups"}},
		{"all gradients fall with the loss", from(1000, func(c *HealthCheck) {
			c.each(-2, "", scaleGrad(0.03))
			c.Loss = 0.1
		}), "", nil},
		{"a gradient is NaN", at(500, func(c *HealthCheck) {
			c.each(2, "v", func(t *TensorHealth) { t.NonFinite, t.GradMean = 7, nan })
		}), "500 A5-NONFINITE error", []string{"block.2.v (block 2)", "7 of 1000"}},
		{"updates are lost", from(600, func(c *HealthCheck) {
			c.each(5, "gate", func(t *TensorHealth) { t.UpdateRMS, t.Unmoved = 1e-9, 900 })
		}), "1000 W-FROZEN-WEIGHTS warning", []string{"90 % of block.5.gate", "suspect: frozen"}},
		{"updates are small and none is lost", from(600, func(c *HealthCheck) {
			c.each(5, "gate", func(t *TensorHealth) { t.UpdateRMS = 1e-9 })
		}), "", nil},
		{"updates are lost at a rate of nothing", from(600, func(c *HealthCheck) {
			c.LR = 1e-9
			c.each(5, "gate", func(t *TensorHealth) { t.UpdateRMS, t.Unmoved = 1e-12, 900 })
		}), "", nil},
		{"the stream explodes at once", from(10, func(c *HealthCheck) {
			for l := range c.Probe.Stream {
				c.Probe.Stream[l] *= 30
			}
		}), "10 W-RESIDUAL-GROWTH warning", []string{"in 9 steps", "warmup"}},
		{"the stream grows fast to where it belongs", from(10, func(c *HealthCheck) {
			for l := range c.Probe.Stream {
				c.Probe.Stream[l] *= 12
			}
		}), "", nil},
		{"a block enlarges the stream", from(200, func(c *HealthCheck) {
			for l := 4; l <= healthLayers; l++ {
				c.Probe.Stream[l] *= 7
			}
		}), "200 W-RESIDUAL-GROWTH warning", []string{"block 3", "suspect: residual"}},
		{"the first block may enlarge it", from(200, func(c *HealthCheck) {
			for l := 1; l <= healthLayers; l++ {
				c.Probe.Stream[l] *= 50
			}
		}), "", nil},
		{"a residual path is cut", from(150, func(c *HealthCheck) { c.Probe.Kept[4] = 0.1 }), "200 W-RESIDUAL-CUT error",
			[]string{"block 4", "suspect: residual"}},
		{"a residual path is cut and partly learned again", from(150, func(c *HealthCheck) { c.Probe.Kept[1] = 0.6 }),
			"200 W-RESIDUAL-CUT error", []string{"block 1"}},
		{"a block slowly rewrites its input", func(c *HealthCheck) { c.Probe.Kept[1] = 1.1 - 0.5*float64(c.Step)/3000 }, "",
			nil},
		{"the first block that learns may enlarge it", from(200, func(c *HealthCheck) {
			for l := range c.Probe.Stream {
				c.Probe.Stream[l] = 0.03
				if l > 2 {
					c.Probe.Stream[l] = 0.9
				}
			}
		}), "", nil},
		{"the first residual path is cut", func(c *HealthCheck) { c.Probe.Kept[0] = 0 }, "1 W-RESIDUAL-CUT error",
			[]string{"block 0"}},
		{"the first block takes out the embedding", from(100, func(c *HealthCheck) { c.Probe.Kept[0] = 0.4 }), "", nil},
		{"a branch outweighs its input", from(150, func(c *HealthCheck) {
			c.Probe.Kept[0] = -2
			c.Probe.Stream[0] /= 10
		}), "", nil},
		{"heads collapse", from(300, func(c *HealthCheck) {
			for i := range c.Probe.Entropy {
				c.Probe.Entropy[i] = 0.13
			}
		}), "300 W-ATTN-ENTROPY warning", nil},
		{"a quarter of the heads narrows late", from(1500, func(c *HealthCheck) {
			for i := range 3 {
				c.Probe.Entropy[i] = 0.04 - float64(c.Step)/1e6
			}
		}), "1500 W-ATTN-ENTROPY warning", []string{"3 of 12 heads"}},
		{"scores run away", func(c *HealthCheck) { c.Probe.Logit[1] = 5 * float64(c.Step) },
			"100 W-ATTN-LOGIT warning, 2100 W-ATTN-LOGIT error", []string{"block 1"}},
		{"units die", func(c *HealthCheck) { c.Probe.Dead[2] = float64(c.Step) / 2000 },
			"700 W-DEAD-UNITS warning, 1300 W-DEAD-UNITS error", []string{"block 2"}},
		{"a short sequence says nothing of units and heads", func(c *HealthCheck) {
			c.Probe.Tokens, c.Probe.Dead[2], c.Probe.Entropy = 20, 1, make([]float64, 12)
		}, "", nil},
		{"logits drift", from(400, func(c *HealthCheck) { c.Probe.LogZ = 25 }), "400 W-LOGIT-DRIFT warning", nil},
		{"logits rise steadily", from(400, func(c *HealthCheck) { c.Probe.LogZ = 5 + min(10, float64(c.Step-400)/90) }),
			"900 W-LOGIT-DRIFT warning", []string{"5 rises in a row"}},
		{"logits rise and stay", from(400, func(c *HealthCheck) { c.Probe.LogZ = 5 + min(3, float64(c.Step-400)/100) }), "",
			nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events := runHealth(tt.fault)
			var steps []int64
			for step := range events {
				steps = append(steps, step)
			}
			slices.Sort(steps)
			var got, messages []string
			for _, step := range steps {
				for _, e := range events[step] {
					got = append(got, fmt.Sprintf("%d %s %s", step, e.Code, e.Severity))
					messages = append(messages, e.Message)
					if _, named := e.Numbers["block"]; !named && !slices.Contains([]string{CodeExploding, CodeAttnEntropy,
						CodeLogitDrift}, e.Code) {
						t.Errorf("%s names no block", e.Code)
					}
				}
			}
			if strings.Join(got, ", ") != tt.want {
				t.Fatalf("got %q, want %q\n%s", strings.Join(got, ", "), tt.want, strings.Join(messages, "\n"))
			}
			for _, word := range tt.says {
				if !strings.Contains(strings.Join(messages, "\n"), word) {
					t.Errorf("no %q in %q", word, messages)
				}
			}
		})
	}
}

// An alarm that ended speaks again when it comes back.
func TestHealthTellsAgain(t *testing.T) {
	events := runHealth(func(c *HealthCheck) {
		if c.Step%1000 < 500 && c.Step > 100 {
			c.Probe.LogZ = 30
		}
	})
	if len(events) != 4 {
		t.Errorf("%d events for a fault that came four times: %v", len(events), events)
	}
}

// The state is not shared, and goes through JSON unchanged at any check.
func TestHealthIsPure(t *testing.T) {
	faulty := func(step int64) HealthCheck {
		c := sound(step)
		if step > 300 {
			c.each(0, "", scaleGrad(1e-3))
			c.each(5, "gate", func(t *TensorHealth) { t.UpdateRMS, t.Unmoved = 1e-9, 900 })
			c.each(2, "o", noGrad)
			c.Probe.Kept[1], c.Probe.LogZ = 0, float64(step)/10
		}
		return c
	}
	var s HealthState
	for step := int64(100); step <= 3000; step += 100 {
		before, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var read HealthState
		if err := json.Unmarshal(before, &read); err != nil {
			t.Fatal(err)
		}
		next, events := Health(s, faulty(step))
		again, eventsAgain := Health(read, faulty(step))
		if after, _ := json.Marshal(s); string(after) != string(before) {
			t.Fatalf("step %d: the state that was given has changed", step)
		}
		a, _ := json.Marshal(next)
		b, _ := json.Marshal(again)
		if string(a) != string(b) || !reflect.DeepEqual(events, eventsAgain) {
			t.Fatalf("step %d: another result after JSON:\n%s\n%s", step, a, b)
		}
		s = next
	}
	if s.Checks != 30 || s.Probes != 30 {
		t.Errorf("%d checks and %d probes counted, want 30", s.Checks, s.Probes)
	}
}

func FuzzHealth(f *testing.F) {
	f.Add(1.0, 2.0, 3.0, 0.5, int64(1))
	f.Add(math.NaN(), math.Inf(1), -1.0, 0.0, int64(100))
	f.Add(5e-324, math.MaxFloat64, math.Inf(-1), math.NaN(), int64(-7))
	f.Fuzz(func(t *testing.T, a, b, c, d float64, step int64) {
		var s HealthState
		for i := range int64(7) {
			check := sound(step + 100*i)
			check.each(int(i)%healthLayers, "", func(t *TensorHealth) {
				t.GradMean, t.GradRMS, t.GradMax, t.UpdateRMS,
					t.WeightRMS = a, b, c, d, a
			})
			check.Loss, check.LR, check.WeightDecay = a, b, c
			check.Probe.Stream[i%healthLayers], check.Probe.Kept[2], check.Probe.Entropy[3] = a, b, c
			check.Probe.Logit[1], check.Probe.Dead[1], check.Probe.LogZ = d, a, b
			s, _ = Health(s, check)
			if _, err := json.Marshal(s); err != nil {
				t.Fatalf("a state that cannot be saved: %v", err)
			}
		}
	})
}

// Weights from elsewhere are beyond limits that are right for fresh ones. They are told once and quietly, and only what
// gets worse is an alarm.
func TestHealthOfTrainedWeights(t *testing.T) {
	asTheyCame := func(c *HealthCheck) {
		c.Trained = true
		c.Probe.LogZ = 26.7 - float64(c.Step%2)
		c.Probe.Logit[0], c.Probe.Dead[3] = 500, 0.35
	}
	got := func(fault func(c *HealthCheck)) (all []string) {
		events := runHealth(fault)
		for _, step := range slices.Sorted(maps.Keys(events)) {
			for _, e := range events[step] {
				all = append(all, fmt.Sprintf("%d %s %s", step, e.Code, e.Severity))
			}
		}
		return all
	}
	start := "1 I-START-HEALTH info"
	for _, tt := range []struct {
		name  string
		fault func(c *HealthCheck)
		want  []string
	}{
		{"as they came", func(*HealthCheck) {}, []string{start}},
		{"another block", from(400, func(c *HealthCheck) { c.Probe.Logit[1] = 500 }),
			[]string{start, "400 W-ATTN-LOGIT warning"}},
		{"worse", from(400, func(c *HealthCheck) { c.Probe.Dead[3] = 0.7 }), []string{start, "400 W-DEAD-UNITS error"}},
		{"rising", from(400, func(c *HealthCheck) { c.Probe.LogZ = 26 + float64(c.Step-400)/90 }),
			[]string{start, "900 W-LOGIT-DRIFT warning"}},
	} {
		if all := got(func(c *HealthCheck) { asTheyCame(c); tt.fault(c) }); !slices.Equal(all, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, all, tt.want)
		}
	}
	if all := got(func(c *HealthCheck) { asTheyCame(c); c.Trained = false }); len(all) < 3 {
		t.Errorf("fresh weights: %v", all)
	}
}
