package model

import (
	"math"
	"slices"
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/param"
)

func TestCutResidualAgainstFiniteDifferences(t *testing.T) {
	checkGradients(t, PlantedFault{FaultCutResidual, 0})
	checkGradients(t, PlantedFault{FaultCutResidual, 1})
}

// A planted model is a function like any other: the same bits however it is computed.
func TestPlantsKeepTheBits(t *testing.T) {
	eachMode(t, 1, func(t *testing.T, x *kernel.Exec, mode string) {
		if x.Tier() == kernel.Generic && mode == ModeBF16 {
			return // slow, and the same wiring
		}
		for shape := range shapes() {
			r := random(t)
			a := testArch(shape)
			a.Layers = 3
			in := ragged(r, a.Vocab, 30, 2, 130, 17)
			seed := r.Uint64()
			sound, _ := result(t, a, 1, x.Tier(), mode, "", seed, in)
			for _, p := range []PlantedFault{{FaultCutResidual, 1}, {FaultStopGradient, 1}} {
				grads, nats := result(t, a, 1, x.Tier(), mode, "", seed, in, p)
				if slices.Equal(grads, sound) {
					t.Errorf("%s: plant %+v changes nothing", a.Shape, p)
				}
				for _, checkpointing := range []string{CheckpointAttention, CheckpointBlock} {
					g, l := result(t, a, 2, x.Tier(), mode, checkpointing, seed, in, p)
					if !slices.Equal(g, grads) || !slices.Equal(l, nats) {
						t.Errorf("%s: plant %+v: checkpointing %s differs from none", a.Shape, p, checkpointing)
					}
				}
			}
		}
	})
}

func TestStopGradient(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	for shape := range shapes() {
		a := testArch(shape)
		a.Layers = 4
		r := random(t)
		in := ragged(r, a.Vocab, 30, 8)
		m := newModel[float32](t, a, x, Options{MicroTokens: len(in.Tokens), Mode: ModeAuto})
		scramble(m, r)
		m.PlantFaults(PlantedFault{FaultStopGradient, 2})
		m.Backward(in, 1)
		for _, v := range m.params.Views {
			zero := !slices.ContainsFunc(m.grads[v.Lo:v.Hi], func(g float32) bool { return g != 0 })
			below := v.Block >= 0 && v.Block < 2 || v.Kind == param.KindEmbed || v.Kind == param.KindPosition
			if zero != below {
				t.Errorf("%s: %s: gradient zero is %v, want %v", a.Shape, v.Name, zero, below)
			}
		}
	}
}

func TestPlantedNaNIsFoundInItsBlock(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	for shape := range shapes() {
		a := testArch(shape)
		a.Layers = 3
		in := ragged(random(t), a.Vocab, 30, 8)
		m := newModel[float32](t, a, x, Options{MicroTokens: len(in.Tokens), Mode: ModeAuto})
		m.Init(1)
		for block := range a.Layers {
			m.PlantFaults(PlantedFault{FaultNaN, block})
			nats := m.Backward(in, 1)
			if got, found := m.NonFiniteBlock(); !math.IsNaN(nats) || !found || got != block {
				t.Errorf("%s: loss %v, bad block %d (%v), want NaN in block %d", a.Shape, nats, got, found, block)
			}
			if nats := m.TokenNats()[30:]; slices.ContainsFunc(nats, math.IsNaN) {
				t.Errorf("%s: the NaN reached the other sequence", a.Shape)
			}
		}
		m.PlantFaults()
		if nats := m.Loss(in); math.IsNaN(nats) {
			t.Errorf("%s: loss %v after the fault was taken out", a.Shape, nats)
		}
		if block, found := m.NonFiniteBlock(); found {
			t.Errorf("%s: block %d of a sound model called bad", a.Shape, block)
		}
	}
}
