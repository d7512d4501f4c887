package guard

import (
	"math"
	"testing"
)

// rewound is a run that an E2 has just halved, after n calm steps.
func rewound(t *testing.T, r *stream, n int) {
	t.Helper()
	r.calm(t, n)
	var d Decision
	for range 2 {
		o := r.next()
		o.Loss = math.NaN()
		d = r.give(o)
	}
	if d.Action != Rewind {
		t.Fatalf("two NaN: %+v", d)
	}
}

// TestHalvingIsEarnedBack: a rewind halves the rate; after a thousand healthy steps for each rewind so far the rate
// grows back, without a jump, and the event says so.
func TestHalvingIsEarnedBack(t *testing.T) {
	rules := acting
	rules.Limits = Limits
	r := newStream(rules, 1)
	for rewinds := range 3 {
		rewound(t, r, 200)
		need, before := regainAfter*(rewinds+1), r.s.Scale()
		if before != 0.5 {
			t.Fatalf("after rewind %d: scale %v", rewinds+1, before)
		}
		for i := range need + ramp {
			d := r.give(r.next())
			told := codes(d) == CodeRegain
			if d.Action != Apply || told != (i == need-1) {
				t.Fatalf("rewind %d, healthy step %d: %+v", rewinds+1, i+1, d)
			}
			if now := r.s.Scale(); now < before || now > before*1.02 {
				t.Fatalf("rewind %d, healthy step %d: from %v to %v", rewinds+1, i+1, before, now)
			} else {
				before = now
			}
			if told && (d.Events[0].Numbers["scale_before"] != 0.5 || d.Events[0].Numbers["scale_after"] != 1) {
				t.Errorf("numbers %v", d.Events[0].Numbers)
			}
		}
		if before != 1 || r.s.Halvings != 0 {
			t.Fatalf("after rewind %d the scale comes back to %v", rewinds+1, before)
		}
	}
}

// TestTwoHalvings are given back one after the other.
func TestTwoHalvings(t *testing.T) {
	rules := acting
	rules.Limits = Limits
	r := newStream(rules, 1)
	rewound(t, r, 200)
	rewound(t, r, 200)
	if r.s.Scale() != 0.25 {
		t.Fatalf("scale %v", r.s.Scale())
	}
	r.calm(t, 2*regainAfter+ramp)
	if r.s.Scale() != 0.5 {
		t.Errorf("after 2,000 healthy steps: scale %v", r.s.Scale())
	}
	r.calm(t, 2*regainAfter)
	if r.s.Scale() != 1 {
		t.Errorf("after 4,000: scale %v", r.s.Scale())
	}
}

// TestHalvingStays: with the article's rule, and in a log of the first limits, a halving of a rewind is for good.
func TestHalvingStays(t *testing.T) {
	for _, change := range []func(*Rules){func(r *Rules) { r.Limits = 0 }, func(r *Rules) { r.StayHalved = true }} {
		rules := acting
		rules.Limits = Limits
		change(&rules)
		r := newStream(rules, 1)
		rewound(t, r, 200)
		before := r.s.Scale()
		r.calm(t, 3*regainAfter)
		if r.s.Scale() != before {
			t.Errorf("%+v: from %v to %v", rules, before, r.s.Scale())
		}
	}
}
