package optim

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/kernel"
)

var muonOptions = Options{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1, Muon: true, Momentum: 0.95}

// The singular values of a direction are near 1, for wide and tall matrices and stacks of them: for each right-hand
// vector v that the matrix does not lose, |Xv| is near |v|.
func TestOrthogonalize(t *testing.T) {
	r := random(t)
	for _, tier := range kernel.Tiers() {
		for _, shape := range [][2]int{{1, 1}, {1, 40}, {40, 1}, {64, 64}, {48, 200}, {200, 48}, {130, 131}} {
			rows, cols := shape[0], shape[1]
			x := newExec(t, 2, tier)
			u := newMuon[float32]([]Segment{{Hi: rows * cols, Rows: rows, Cols: cols}}, 2).room[0]
			norm := 0.0
			for i := range u.x {
				u.x[i] = float32(r.NormFloat64())
				norm += float64(u.x[i]) * float64(u.x[i])
			}
			g := slices.Clone(u.x)
			d := make([]float32, rows*cols)
			u.orthogonalize(x, 0, d, rows, cols)
			// The trace of Dᵀ·G is the sum of the singular values of G times those of D, and that of Dᵀ·D their squares.
			least := float64(min(rows, cols))
			squares := kernel.SumSquares(x, d)
			if !(squares >= 0.4*least && squares <= 1.4*least) {
				t.Errorf("%v %dx%d: squares of the singular values sum to %g of %g", tier, rows, cols, squares, least)
			}
			dot := 0.0
			for i, v := range g {
				dot += float64(v) * float64(d[i])
			}
			if !(dot > 0.6*math.Sqrt(norm)) {
				t.Errorf("%v %dx%d: the direction turns away: %g of %g", tier, rows, cols, dot, math.Sqrt(norm))
			}
		}
	}
}

// The values are PyTorch's, recorded by testdata/muon.py.
func TestMuonAgainstPyTorch(t *testing.T) {
	want := map[int64]struct{ p, m []float64 }{
		1: {
			p: []float64{0.9992983905798661, 0.2674021840908838, -0.8534377205766817, -0.7226009107503767, 0.468369296481305,
				0.9766066996931662, 0.05773334825797959, -0.9473967439782298, -0.5592587689692365,
				0.6488329378655204, 0.9090636816835967, -0.16496375887843748, -0.9932936411451668,
				-0.3675209068965553, 0.7971625900334031, 0.792730877515564, -0.37122221749394985,
				-0.9925271765567008, -0.16131373794647688, 0.9046201802352899, 0.6459201913070702,
				-0.5608565286218034, -0.9492672545955976, 0.053091078449680564, 0.9761885835787908,
				0.4672272615118944, -0.7304077212609946, -0.8565548559369763, 0.26864514709328524,
				0.9989566953079709, 0.26416245373623776, -0.8560299399086302, -0.7240972950619765,
				0.4684601422914312, 0.9736171147817939, 0.05479424875359464, -0.946748731612751,
				-0.5602919285658462, 0.6467039346443033, 0.9088001364026445, -0.1627909699366118,
				-0.9939561286113798, -0.36837209637918045},
			m: []float64{0.00979158637034355, 0.012887534295536615, -0.045808296837472784, -0.02794154981989261,
				0.012352102923462515, 0.0006193856363339447, -0.0497276294101995, 0.023150982510153916,
				0.011686188194058547, -0.011810549659961665, -0.04065785558307446, 0.06819636200681335,
				0.007967782451878026, -0.021155510104379237, -0.020968045803661586, 0.09542850944926978,
				0.002168151940573697, -0.024974545123673753, 0.004198722784587168, 0.09773425123922609,
				-0.004197810740214278, -0.022270103601921633, 0.028268763906851173, 0.07451131604793496,
				-0.009467284185585335, -0.013748599239008705, 0.044954862007228986, 0.03182565111024885,
				-0.012263855482538723, -0.0016358917465178525, 0.049898524509364106, -0.019173033639935902,
				-0.011857046171478862, 0.010904118881195633, 0.041808441953971785, -0.06516362576815553,
				-0.008353116886352761, 0.02059591892609296, 0.022797784511074518, -0.09413315176992307,
				-0.0026673115437086605, 0.024907961570391827, -0.0021677686750429205},
		},
		3: {
			p: []float64{0.9932873757956912, 0.2640527112172709, -0.8412958643163282, -0.7333210138064093,
				0.46457573682219094, 0.9754502350786112, 0.06358436226869148, -0.9588304533733265,
				-0.5633902815111634, 0.6505958191841905, 0.9078128277622639, -0.1849835083005431,
				-0.9883619107240488, -0.36372339316969066, 0.791059339599658, 0.7702334857376228,
				-0.3695638017276002, -0.9839514907832856, -0.1692710238314706, 0.8879229891193626,
				0.644165252838744, -0.5568050453190708, -0.9575764158221785, 0.05018675072536483,
				0.9740663627762179, 0.4634494010481928, -0.7406881084446628, -0.8491443307525569,
				0.27143775298382167, 0.9910539971985184, 0.24780811162480879, -0.8449099092832216,
				-0.7181897474145378, 0.46322845800106915, 0.9610798211554155, 0.06328979742730609,
				-0.9421706033750905, -0.5596088553026768, 0.6451640720212707, 0.9126643969758164,
				-0.16453010368891727, -0.9897777115727096, -0.35591922091014555},
			m: []float64{0.016399876508548634, -0.00046456840950508647, -0.06536007770704111, 0.035543418275139946,
				0.015195125988461598, -0.016717087863745483, -0.05216488502625386, 0.09375298437974938,
				0.010021332291287197, -0.028603020059890558, -0.025343962545383444, 0.12747380038998077,
				0.002229916299551949, -0.033017699849243666, 0.008096930161301223, 0.12789781990905855,
				-0.006143965022245968, -0.028807990712221954, 0.03942286406892943, 0.09491428691031828,
				-0.012913011841827436, -0.017073489805210118, 0.06045134800655802, 0.03713866576728883,
				-0.016309115154038725, -0.0008793076641038549, 0.0656896364214015, -0.03033776128427381,
				-0.015445195727667706, 0.015544554052375394, 0.053769462086959784, -0.08988981281404837,
				-0.010546913653153592, 0.02790810022758877, 0.027804434370324503, -0.12596219405282513,
				-0.0028937247943084006, 0.03298191054421863, -0.0054232511626469, -0.12913261796291925,
				0.005515319505284196, 0.029440680280583404, -0.03723435627100831},
		},
	}
	segments := []Segment{{Lo: 0, Hi: 15, Decay: true, Rows: 3, Cols: 5}, {Lo: 15, Hi: 27, Decay: true, Rows: 6, Cols: 2},
		{Lo: 27, Hi: 43, Decay: true, Rows: 4, Cols: 4}}
	a := New[float64](newExec(t, 2, kernel.TierAuto), 43, segments, muonOptions)
	p, g := make([]float64, 43), make([]float64, 43)
	for i := range p {
		p[i] = math.Cos(1.3 * float64(i))
	}
	for step := int64(1); step <= 3; step++ {
		for _, s := range segments {
			for i := range s.Hi - s.Lo {
				at := float64(s.Lo + i)
				g[s.Lo+i] = math.Sin(1.7*at+0.9*float64(step)) * math.Pow(2, math.Mod(at, 4)-2)
			}
		}
		a.Update(p, g, step, 0.01*float64(step), 1/float64(step))
		w, ok := want[step]
		for i := range w.p {
			if !(math.Abs(p[i]-w.p[i]) <= 1e-13) || !(math.Abs(a.M[i]-w.m[i]) <= 1e-15) {
				t.Errorf("step %d: p[%d] = %.17g, want %.17g; m %.17g, want %.17g", step, i, p[i], w.p[i], a.M[i], w.m[i])
			}
		}
		if ok != (len(w.p) == 43) {
			t.Fatal("values are missing")
		}
	}
}

// muonRun is an optimizer by Muon with matrices of every form, one segment of two, and others between them.
func muonRun(t testing.TB, workers int, tier kernel.Tier) (a *Optimizer[float32], params, grads []float32) {
	const n = 3*block + 1000
	segments := []Segment{{Lo: 0, Hi: 100}, {Lo: 112, Hi: 112 + 2*48*64, Decay: true, Rows: 48, Cols: 64},
		{Lo: 6272, Hi: 6272 + 96*50, Decay: true, Rows: 96, Cols: 50}, {Lo: 11088, Hi: 11588, Decay: true},
		{Lo: 11600, Hi: 11600 + 33*17, Rows: 33, Cols: 17}}
	a = New[float32](newExec(t, workers, tier), n, segments, muonOptions)
	r := rand.New(rand.NewPCG(1, 2))
	params, grads = make([]float32, n), make([]float32, n)
	for _, s := range segments {
		for i := s.Lo; i < s.Hi; i++ {
			params[i], grads[i] = float32(0.02*r.NormFloat64()), float32(1e-3*r.NormFloat64())
		}
	}
	return a, params, grads
}

// Any number of workers gives the same bits. What no segment covers is not touched, and what has no shape moves as
// AdamW moves it.
func TestMuonWorkers(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		var first []float32
		for _, workers := range []int{1, 2, 3, 7} {
			a, p, g := muonRun(t, workers, tier)
			for step := int64(1); step <= 3; step++ {
				a.Update(p, g, step, 1e-2, 0.5)
			}
			if first == nil {
				first = p
			}
			for i := range p {
				if math.Float32bits(p[i]) != math.Float32bits(first[i]) {
					t.Fatalf("tier %v, %d workers: element %d is %g, with one worker %g", tier, workers, i, p[i], first[i])
				}
			}
		}
		muon, plain, g := muonRun(t, 2, tier)
		options := muonOptions
		options.Muon = false
		adam := New[float32](newExec(t, 2, tier), len(plain), muon.segments, options)
		for step := int64(1); step <= 3; step++ {
			adam.Update(plain, g, step, 1e-2, 0.5)
		}
		covered := 0
		for i, s := range muon.segments {
			same := slices.Equal(first[s.Lo:s.Hi], plain[s.Lo:s.Hi])
			if same != (s.Rows == 0) {
				t.Errorf("tier %v: segment %d moves as with AdamW: %v", tier, i, same)
			}
			for _, v := range first[covered:s.Lo] {
				if v != 0 {
					t.Errorf("tier %v: a gap before segment %d was touched", tier, i)
				}
			}
			covered = s.Hi
		}
	}
}

// A question about an update changes nothing but what it keeps for the update, and that is used only as long as it
// holds.
func TestMuonAsksOnce(t *testing.T) {
	update := func(ask func(a *Optimizer[float32], p, g []float32)) []float32 {
		a, p, g := muonRun(t, 2, kernel.TierAuto)
		a.Update(p, g, 1, 1e-2, 1)
		ask(a, p, g)
		a.Update(p, g, 2, 1e-2, 0.5)
		return p
	}
	plain := update(func(*Optimizer[float32], []float32, []float32) {})
	var ratio, median float64
	for what, ask := range map[string]func(a *Optimizer[float32], p, g []float32){
		"the same update": func(a *Optimizer[float32], p, g []float32) { ratio = a.UpdateRatio(p, g, 2, 1e-2, 0.5) },
		"another rate":    func(a *Optimizer[float32], p, g []float32) { a.UpdateRatio(p, g, 2, 1, 0.5) },
		"another factor":  func(a *Optimizer[float32], p, g []float32) { a.UpdateRatio(p, g, 2, 1e-2, 1e-3) },
		"another gradient": func(a *Optimizer[float32], p, g []float32) {
			old := slices.Clone(g)
			for i := range g {
				g[i] = float32(i % 7)
			}
			a.UpdateRatio(p, g, 2, 1e-2, 0.5)
			copy(g, old)
			a.Changed()
		},
		"a trial": func(a *Optimizer[float32], p, g []float32) {
			states := make([]TensorState, len(a.segments))
			before := slices.Clone(p)
			median = a.Trial(p, g, 2, 1e-2, 0.5, states)
			b, q, _ := muonRun(t, 1, kernel.TierAuto)
			copy(q, p)
			copy(b.M, a.M)
			copy(b.V, a.V)
			b.Update(q, g, 2, 1e-2, 0.5)
			for i, s := range a.segments {
				want := 0.0
				for j := s.Lo; j < s.Hi; j++ {
					want += math.Pow(float64(q[j])-float64(p[j]), 2)
				}
				if want = math.Sqrt(want / float64(s.Hi-s.Lo)); !near(states[i].Update.RMS, want, 1e-9) {
					t.Errorf("segment %d moves by %g, the trial says %g", i, want, states[i].Update.RMS)
				}
				if rms := 1e-2 * MuonRMS; s.Rows > 0 && !near(states[i].Update.RMS, rms, 0.25) {
					t.Errorf("segment %d moves by %g, want about %g", i, states[i].Update.RMS, rms)
				}
			}
			if !slices.Equal(p, before) {
				t.Error("a trial changed parameters")
			}
		},
	} {
		if got := update(ask); !slices.Equal(got, plain) {
			t.Errorf("%s: the update is another", what)
		}
	}
	if !(ratio > 0) || !near(ratio, median, 0.1) {
		t.Errorf("update ratio %g from a sample, %g from all", ratio, median)
	}
}

// The slots are those that PyTorch has, and all that an update depends on.
func TestMuonStates(t *testing.T) {
	a, p, g := muonRun(t, 2, kernel.TierAuto)
	a.Update(p, g, 1, 1e-2, 1)
	b, q, _ := muonRun(t, 2, kernel.TierAuto)
	copy(q, p)
	names := map[string]int{}
	for i := range a.segments {
		for j, s := range a.States(i) {
			names[s.Name]++
			copy(b.States(i)[j].Data, s.Data)
		}
	}
	if want := map[string]int{"momentum_buffer": 3, "exp_avg": 2, "exp_avg_sq": 2}; !maps.Equal(names, want) {
		t.Errorf("slots %v, want %v", names, want)
	}
	a.Update(p, g, 2, 1e-2, 1)
	b.Update(q, g, 2, 1e-2, 1)
	if !slices.Equal(p, q) {
		t.Error("an optimizer with the slots of another makes another update")
	}
}

// Bytes is what is allocated for moments and matrices.
func TestBytes(t *testing.T) {
	for _, workers := range []int{1, 2, 5, 40} {
		a, _, _ := muonRun(t, workers, kernel.TierAuto)
		want := len(a.M) + len(a.V)
		for _, r := range a.muon.room {
			want += len(r.x) + len(r.gram) + len(r.poly)
		}
		if got := Bytes(int64(len(a.M)), a.segments, muonOptions, workers); got != 4*int64(want) {
			t.Errorf("%d workers: %d bytes, want %d", workers, got, 4*want)
		}
		dealt := 0
		for _, share := range a.muon.shares {
			dealt += len(share)
		}
		if dealt != 4 {
			t.Errorf("%d workers: %d matrices are dealt out, want 4", workers, dealt)
		}
	}
}

func BenchmarkDirections(b *testing.B) {
	const width, mlp, layers = 128, 384, 4
	var segments []Segment
	n := 0
	for range layers {
		for _, shape := range [][2]int{{width, width}, {width / 2, width}, {width / 2, width}, {width, width},
			{mlp, width}, {mlp, width}, {width, mlp}} {
			segments = append(segments, Segment{Lo: n, Hi: n + shape[0]*shape[1], Rows: shape[0], Cols: shape[1]})
			n += shape[0] * shape[1]
		}
	}
	a := New[float32](newExec(b, 0, kernel.TierAuto), n, segments, muonOptions)
	g := make([]float32, n)
	for i := range g {
		g[i] = float32(i%17) - 8
	}
	for range b.N {
		a.Changed()
		a.direct(g, 1)
	}
}
