package guard

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// Guards that other trainers publish, in the few lines that matter, each with the stream on which it fails without a
// word. The same stream then goes through Next. The tenth of the list (a padding label in the loss) is no matter of
// numbers of a step: here padding does not exist, and internal/data counts every label once.

var nan = math.NaN()

// published is a guard of another trainer: it says whether the update goes through.
type published func(loss, norm float64) bool

// rolling is a window of the last n values whatever they are, and their mean and standard deviation.
type rolling struct {
	n      int
	values []float64
}

func (r *rolling) add(x float64) {
	if r.values = append(r.values, x); len(r.values) > r.n {
		r.values = r.values[1:]
	}
}

func (r *rolling) meanStd() (mean, std float64) {
	for _, x := range r.values {
		mean += x / float64(len(r.values))
	}
	for _, x := range r.values {
		std += (x - mean) * (x - mean) / float64(len(r.values)-1)
	}
	return mean, math.Sqrt(std)
}

// script is a stream that a test writes down first and gives to several guards.
type script struct {
	r   *stream
	all []Observation
}

func newScript(seed uint64) *script { return &script{r: newStream(acting, seed)} }

// calm adds n calm steps.
func (s *script) calm(n int) *script {
	for range n {
		s.all = append(s.all, s.r.next())
		s.r.step++
	}
	return s
}

// add adds one step of these numbers.
func (s *script) add(loss, norm float64) *script {
	o := s.r.next()
	s.r.step++
	o.Loss, o.GradNorm = loss, norm
	s.all = append(s.all, o)
	return s
}

// applied says which updates a published guard lets through.
func applied(p published, all []Observation) []bool {
	var ok []bool
	for _, o := range all {
		ok = append(ok, p(o.Loss, o.GradNorm))
	}
	return ok
}

// ours says which updates Next lets through.
func ours(all []Observation) []bool {
	var ok []bool
	_, decisions := replay(New(acting), all)
	for _, d := range decisions {
		ok = append(ok, d.Action == Apply)
	}
	return ok
}

func count(ok []bool, what bool) int {
	n := 0
	for _, o := range ok {
		if o == what {
			n++
		}
	}
	return n
}

// 1. llm.c outlier_detector.h: running sums over 128; after a NaN every z is NaN, and "isfinite(z) && z > limit" is
// false for ever. A hundredfold spike goes through.
func TestPublishedRunningSums(t *testing.T) {
	var buf []float64
	sum, squares := 0.0, 0.0
	z := func(x float64) float64 {
		buf = append(buf, x)
		sum, squares = sum+x, squares+x*x
		if len(buf) <= 128 {
			return math.NaN()
		}
		sum, squares = sum-buf[0], squares-buf[0]*buf[0]
		buf = buf[1:]
		mean := sum / 128
		return (x - mean) / math.Sqrt(squares/128-mean*mean)
	}
	llmc := func(loss, _ float64) bool {
		v := z(loss)
		return !(finite(v) && v > 6)
	}
	all := newScript(1).calm(300).add(nan, 1).calm(300).add(400, 100).all
	theirs, mine := applied(llmc, all), ours(all)
	if !theirs[300] || !theirs[601] {
		t.Error("the published rule saw the NaN or the spike: the stream tests nothing")
	}
	if mine[300] || mine[601] {
		t.Errorf("ours: NaN applied %v, spike after it applied %v", mine[300], mine[601])
	}
	if n := count(mine, false); n != 2 {
		t.Errorf("ours refused %d", n)
	}
}

// 1b. The same file puts the new value into the window first, so that z is at most 127/√128 = 11.2: a limit of 12 can
// never be passed.
func TestPublishedLimitOutOfReach(t *testing.T) {
	w := rolling{n: 128}
	for i := range 127 {
		w.add(3 + 0.01*float64(i%2))
	}
	w.add(1e6)
	mean, std := w.meanStd()
	if z := (1e6 - mean) / std; z > 12 {
		t.Fatalf("z %v: the arithmetic of the test is wrong", z)
	}
	mine := ours(newScript(1).calm(128).add(1e6, 1).all)
	if mine[128] {
		t.Error("ours let a loss of a million through")
	}
}

// skipStep is the rule of 2 and 3: mean + 6 standard deviations over the last 128, with every value inside.
func skipStep() published {
	loss, norm := rolling{n: 128}, rolling{n: 128}
	return func(l, g float64) bool {
		loss.add(l)
		norm.add(g)
		if len(loss.values) < 64 {
			return true
		}
		ml, sl := loss.meanStd()
		mg, sg := norm.meanStd()
		return l-ml <= 6*sl && g-mg <= 6*sg
	}
}

// 2. OLMo-core SkipStepOptimizer: one NaN norm in the window makes every comparison false; the model stands still until
// it has left.
func TestPublishedWindowPoisoned(t *testing.T) {
	all := newScript(1).calm(300).add(3, nan).calm(300).all
	theirs, mine := applied(skipStep(), all), ours(all)
	if n := count(theirs[300:430], false); n < 128 {
		t.Errorf("the published rule refused %d of 130: the stream tests nothing", n)
	}
	if n := count(mine, false); n != 1 || mine[300] {
		t.Errorf("ours refused %d, the NaN among them: %v", n, !mine[300])
	}
}

// 2b and 3. OLMo-core and levanter skip by multiplying the update by 0, and 0·NaN is NaN. Here a refusal is an action
// other than Apply and no factor: Scale stays above 0, so that nobody can skip with it by mistake.
func TestPublishedSkipByZero(t *testing.T) {
	weight, update, factor := 1.0, nan, 0.0
	if weight += factor * update; !math.IsNaN(weight) {
		t.Fatal("0·NaN is a number on this machine")
	}
	s, d := Next(New(acting), Observation{Step: 1, Loss: 3, GradNorm: nan, LR: 1e-3})
	if d.Action == Apply || !(d.Scale > 0) || !(s.Scale() > 0) {
		t.Errorf("%+v", d)
	}
	// levanter's window is poisoned like OLMo-core's, by a loss too.
	all := newScript(1).calm(300).add(math.Inf(1), 1).calm(100).all
	if n := count(applied(skipStep(), all)[300:], false); n < 100 {
		t.Errorf("the published rule refused %d: the stream tests nothing", n)
	}
	if n := count(ours(all), false); n != 1 {
		t.Errorf("ours refused %d", n)
	}
}

// 4. OLMo-core StabilityMonitor, the watchdogs of axolotl and Soup, llm-foundry KillLossSpike: strikes are counted
// where loss > limit, and reset where it is not; NaN is not.
func TestPublishedStrikesReset(t *testing.T) {
	strikes, stopped := 0, false
	watchdog := func(loss, _ float64) bool {
		if loss > 10 {
			strikes++
		} else {
			strikes = 0
		}
		stopped = stopped || strikes >= 5
		return !stopped
	}
	sc := newScript(1).calm(200)
	for range 8 {
		sc.add(50, 40).add(nan, nan)
	}
	all := sc.all
	if applied(watchdog, all); stopped {
		t.Error("the published rule stopped: the stream tests nothing")
	}
	_, decisions := replay(New(acting), all)
	for i, want := range []Action{Skip, Skip, Skip, Rewind} { // E1, E0, E1, and the second NaN in a hundred
		if got := decisions[200+i].Action; got != want {
			t.Errorf("observation %d: %v, want %v", i, got, want)
		}
	}
}

// 5. transformers' Trainer, logging_nan_inf_filter: the step is made, and the log shows the mean of the losses before.
// Here the event carries the number itself, and the update is not made.
func TestPublishedNaNAveragedAway(t *testing.T) {
	total, n := 0.0, 0.0
	logged := func(loss, _ float64) bool {
		if !finite(loss) {
			loss = total / n
		}
		total, n = total+loss, n+1
		return true
	}
	all := newScript(1).calm(100).add(nan, 1).all
	if ok := applied(logged, all); !ok[100] || !finite(total/n) {
		t.Error("the published rule saw it: the stream tests nothing")
	}
	_, decisions := replay(New(acting), all)
	d := decisions[100]
	if d.Action == Apply || len(d.Events) != 1 || !math.IsNaN(d.Events[0].Numbers["loss"]) ||
		!strings.Contains(d.Events[0].Message, "NaN") {
		t.Errorf("%+v", d)
	}
}

// 6. nanochat's fine-tuning schedule falls below 0 when the run is longer than planned, and nothing looks.
func TestPublishedNegativeRate(t *testing.T) {
	rate := func(step int64) float64 { return 0.02 * (1 - float64(step)/1000) }
	if rate(1010) >= 0 {
		t.Fatal("the stream tests nothing")
	}
	for _, lr := range []float64{rate(1010), 0, math.NaN(), math.Inf(1), 1.0001} {
		s, d := Next(New(acting), Observation{Step: 1010, Loss: 3, GradNorm: 1, LR: lr})
		if d.Action != Stop || codes(d) != CodeRate || s.Stopped != 1 {
			t.Errorf("rate %v: %+v", lr, d)
		}
	}
	if _, d := Next(New(acting), Observation{Step: 1010, Loss: 3, GradNorm: 1, LR: 1}); d.Action != Apply {
		t.Errorf("the largest rate: %+v", d)
	}
}

// 7. pocket-tts: the run died without a word, and "keep the last 3" threw every healthy checkpoint away. A checkpoint
// of ours is only made of updates that were let through, and Calm says whether it may be rewound to.
func TestPublishedRetention(t *testing.T) {
	sc := newScript(1).calm(300)
	for range 300 {
		sc.add(nan, nan)
	}
	var last3 []bool // is it healthy
	for i, o := range sc.all {
		if i%10 == 0 {
			last3 = append(last3, finite(o.Loss))[max(0, len(last3)-2):]
		}
	}
	if count(last3, true) != 0 {
		t.Fatal("the stream tests nothing")
	}
	rules := acting
	rules.Act = false // the weights are ruined, as in the published case, and only the certificate helps
	s, newest := New(rules), -1
	for i, o := range sc.all {
		s, _ = Next(s, o)
		if i%10 == 0 && s.Calm() {
			newest = i
		}
	}
	if newest < 280 || newest >= 300 {
		t.Errorf("the newest checkpoint to come back to is that of step %d", newest)
	}
}

// 8. entrenar prints "[ROLLBACK]" and goes on. Here the word and the action are one value: an E2 that is told is a
// Rewind.
func TestPublishedRollbackOnlyPrinted(t *testing.T) {
	rewinds := 0
	for seed := range uint64(20) {
		r, g := rand.New(rand.NewPCG(seed, 1)), newStream(acting, seed)
		for range 600 {
			o := g.next()
			if r.IntN(12) == 0 {
				o = outlierOf(o)
			}
			d := g.give(o)
			var last Event
			if len(d.Events) > 0 {
				last = d.Events[len(d.Events)-1]
			}
			if (last.Code == CodeSustained) != (d.Action == Rewind) ||
				strings.Contains(last.Action, "rewind") != (d.Action == Rewind) {
				t.Fatalf("seed %d: %v, told as %q %q", seed, d.Action, last.Code, last.Action)
			}
			if d.Action == Rewind {
				rewinds++
			}
		}
	}
	if rewinds == 0 {
		t.Error("no rewind in all the streams")
	}
}

// 9. torchtitan's guard lived where metrics are logged: every n-th step, after the update. Ours counts what it judged.
func TestPublishedOnlyWhenLogged(t *testing.T) {
	step, seen := 0, false
	logging := func(loss, _ float64) bool {
		if step++; step%10 == 0 && !finite(loss) {
			seen = true
		}
		return true
	}
	all := newScript(1).calm(14).add(nan, 1).calm(50).all
	if applied(logging, all); seen {
		t.Error("the published rule saw it: the stream tests nothing")
	}
	s, _ := replay(New(acting), all)
	if s.Checked != int64(len(all)) || s.Nonfinite != 1 {
		t.Errorf("%d of %d judged, %d not finite", s.Checked, len(all), s.Nonfinite)
	}
}

// ZClip: an exponential mean of the norms, z > 2.5, clipped; after one NaN the mean is NaN for ever and the guard off.
func TestPublishedMovingMean(t *testing.T) {
	mean, variance, n := 0.0, 0.0, 0
	zclip := func(_, norm float64) bool {
		n++
		d := norm - mean
		if n == 1 {
			mean = norm
			return true
		}
		z := d / math.Sqrt(variance)
		mean, variance = 0.97*mean+0.03*norm, 0.97*variance+0.03*d*d
		return !(n > 25 && z > 2.5)
	}
	all := newScript(1).calm(200).add(3, nan).calm(200).add(3, 1000).all
	if theirs := applied(zclip, all); !theirs[401] {
		t.Error("the published rule saw the spike: the stream tests nothing")
	}
	if mine := ours(all); mine[200] || mine[401] {
		t.Errorf("ours: NaN applied %v, spike applied %v", mine[200], mine[401])
	}
}

// TestRecall: five steps of 12 deviations. With mean and deviation over a window that holds the spikes, the later
// ones hide behind the first; with median and MAD over accepted steps none does. The third is an E2, so of ours only
// it and those before it are asked.
func TestRecall(t *testing.T) {
	theirs, mine := 0, 0
	for seed := range uint64(100) {
		sc := newScript(seed).calm(256)
		for range 5 {
			sc.add(1.24*sc.r.loss(sc.r.step), 0.8)
		}
		theirs += count(applied(skipStep(), sc.all)[257:], false)
		mine += count(ours(sc.all)[256:259], false)
	}
	t.Logf("of 400 later spikes mean and deviation saw %d; of 300 first ones ours saw %d", theirs, mine)
	if theirs > 200 {
		t.Error("the published rule saw most: the stream tests nothing")
	}
	if mine != 300 {
		t.Errorf("ours saw %d of 300", mine)
	}
}

// TestLevelShift: a loss that is 12 deviations higher for good. Leaving every outlier out of the window without
// anything that ends it flags it for ever; here three lead to an E2, which starts the windows anew. The same in
// observe mode.
func TestLevelShift(t *testing.T) {
	for _, by := range []float64{1.24, 1.5} {
		sc := newScript(1)
		sc.r.loss = func(step int64) float64 {
			if step > acting.Warmup+256 {
				return 2 * by
			}
			return 2
		}
		sc.calm(2256)
		var accepted []float64
		excluding := func(loss, _ float64) bool {
			if n := len(accepted); n >= 64 {
				if mid, spread := medianAndSpread(accepted[max(0, n-ringSize):]); loss > mid+6*spread {
					return false
				}
			}
			accepted = append(accepted, loss)
			return true
		}
		if n := count(applied(excluding, sc.all), false); n < 1900 {
			t.Errorf("the rule without an end flagged %d: the stream tests nothing", n)
		}
		for _, act := range []bool{true, false} {
			rules := acting
			rules.Act = act
			flagged := 0
			_, decisions := replay(New(rules), sc.all)
			for _, d := range decisions {
				if hasError(d) {
					flagged++
				}
			}
			if flagged < 3 || flagged > 6 {
				t.Errorf("by %v, acting %v: %d of 2000 flagged", by, act, flagged)
			}
		}
	}
}
