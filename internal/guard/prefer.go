package guard

import "math"

// Codes of the events of a run that learns preferences. They change nothing in training.
const (
	CodePairsEasy   = "W-PAIRS-EASY"   // all new pairs are answered rightly almost at once
	CodeChosenFalls = "W-CHOSEN-FALLS" // preferred answers become less likely, the others even less
	CodeLonger      = "W-LENGTH-GROWS" // what the model writes becomes longer
)

// Limits of these rules.
const (
	pairsWindow = 64  // pairs that are judged together, at least
	pairsEarly  = 512 // pairs, before which people's preferences are not learned without a fault
	chosenFalls = 0.1 // nats per token that preferred answers lose
	longerTexts = 1.5 // times as long as before step 1
)

// Preferences is what these rules remember. It is a value; the zero value is a run at its beginning.
type Preferences struct {
	Seen   int64    `json:"seen"` // pairs
	Window PairSums `json:"window"`
	Easy   bool     `json:"easy,omitempty"` // it was told, as the next two
	Falls  bool     `json:"falls,omitempty"`
	Longer bool     `json:"longer,omitempty"`
}

// PairSums is sums over pairs. Of two numbers, the first is of the preferred answers and the second of the others.
type PairSums struct {
	Pairs   int64      `json:"pairs"`
	Correct float64    `json:"correct"` // pairs with a margin above 0
	Ratio   [2]float64 `json:"ratio"`   // log-probability by the model less that by the reference, nats
	Tokens  [2]int64   `json:"tokens"`  // that count
}

// NextPreferences judges the pairs of a step. It is pure. again says that they are not seen for the first time.
func NextPreferences(s Preferences, step int64, p PairSums, again bool) (Preferences, []Event) {
	w := &s.Window
	if s.Seen += p.Pairs; !finite(p.Ratio[0] + p.Ratio[1]) {
		return s, nil // the guard refuses the step
	}
	w.Pairs, w.Correct = w.Pairs+p.Pairs, w.Correct+p.Correct
	for i := range 2 {
		w.Ratio[i], w.Tokens[i] = w.Ratio[i]+p.Ratio[i], w.Tokens[i]+p.Tokens[i]
	}
	if w.Pairs < pairsWindow {
		return s, nil
	}
	var events []Event
	if !s.Easy && !again && s.Seen <= max(pairsEarly, 2*w.Pairs) && w.Correct == float64(w.Pairs) {
		s.Easy = true
		events = append(events, warning(CodePairsEasy, step, map[string]float64{"pairs": float64(w.Pairs),
			"seen": float64(s.Seen)}, "the model prefers the right answer in all of %d new pairs, after %d pairs in all: "+
			"something simpler than their quality gives the answer away", w.Pairs, s.Seen))
	}
	chosen, other := w.Ratio[0]/float64(max(1, w.Tokens[0])), w.Ratio[1]/float64(max(1, w.Tokens[1]))
	if !s.Falls && chosen < -chosenFalls && other < chosen {
		s.Falls = true
		events = append(events, warning(CodeChosenFalls, step, map[string]float64{"chosen": chosen, "rejected": other},
			"preferred answers lost %.3g nats per token of their likelihood and the others %.3g: the margin grows, and "+
				"the model moves away from both", -chosen, -other))
	}
	s.Window = PairSums{}
	return s, events
}

// NextLength judges the mean length of what the model writes, beside that before step 1. It is pure.
func NextLength(s Preferences, step int64, before, now float64) (Preferences, []Event) {
	if s.Longer || !(before > 0) || !(now > longerTexts*before) || math.IsInf(now, 0) {
		return s, nil
	}
	s.Longer = true
	return s, []Event{warning(CodeLonger, step, map[string]float64{"before": before, "now": now},
		"what the model writes is %.3g times as long as before step 1", now/before)}
}
