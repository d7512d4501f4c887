package judge

import "fmt"

// Verdict is what the history says about going on.
type Verdict struct {
	Stop   bool
	Code   string // event code of an alarm or of the stop, empty when nothing is wrong
	Reason string // one sentence with the numbers
}

// Event codes of this package's decisions.
const (
	CodeStop        = "J-STOP"        // repetition and consistency are both worse, twice in a row
	CodePatience    = "J-PATIENCE"    // the validation loss has not fallen for as long as was allowed
	CodeRepetition  = "W-REPETITION"  // repetition alone is worse, twice in a row
	CodeConsistency = "W-CONSISTENCY" // consistency alone is worse, twice in a row
	CodeIllusion    = "W-ILLUSION"    // the loss falls while the writing gets worse, or says little
)

const (
	earlier     = 4    // evaluations that must precede one that is called worse
	worseFloor  = 0.01 // least difference that is called worse
	worseSigmas = 2.45 // standard errors that chance may explain
)

// StopOptions say how the history is judged.
type StopOptions struct {
	Rule     string // Sound, Article or Off
	Warmup   int64  // steps; what was written before its end is no standard
	Patience int    // evaluations without a lower validation loss; 0: the loss never stops a run
}

// Stop judges the last point of a history. It is pure.
//
// Sound: an evaluation is bad when both are worse than the median of all earlier ones since the warmup (four at
// least), by more than 0.01 and by more than 2.45 standard errors: repetition (the excess of rep-3 and rep-4, their
// mean) above it, and prompt consistency (C below it, or X, the likeness of texts of different prompts, above it). Two
// bad evaluations in a row stop the run; one of the two worse in both is an alarm.
//
// Article, literally: both are worse than at the evaluation before. That stops a run that does not change in three of
// four cases within five evaluations.
func Stop(history []Point, opt StopOptions) Verdict {
	v := Verdict{}
	switch opt.Rule {
	case Sound:
		v = soundStop(history, opt.Warmup)
	case Article:
		v = articleStop(history)
	}
	if v.Stop || opt.Patience == 0 {
		return v
	}
	best := 0
	for i, p := range history {
		if p.Loss < history[best].Loss {
			best = i
		}
	}
	if since := len(history) - 1 - best; since >= opt.Patience {
		return Verdict{true, CodePatience,
			fmt.Sprintf("the validation loss has not fallen for %d evaluations: %.4f, it was %.4f at step %d",
				since, history[len(history)-1].Loss, history[best].Loss, history[best].Step)}
	}
	return v
}

// worse says which of the two measures of an evaluation are worse than the median of the earlier ones.
type worse struct {
	repetition, consistency bool
	text                    string
}

func soundStop(history []Point, warmup int64) Verdict {
	at := func(back int) worse { // back evaluations before the last
		n := len(history) - back
		if n < 1 {
			return worse{}
		}
		return judged(history[:n], warmup)
	}
	last, before := at(0), at(1)
	rep, con := last.repetition && before.repetition, last.consistency && before.consistency
	switch {
	case rep && con:
		return Verdict{true, CodeStop, "twice in a row " + last.text}
	case rep && !at(2).repetition: // said once, when it begins
		return Verdict{false, CodeRepetition, "twice in a row " + last.text}
	case con && !at(2).consistency:
		return Verdict{false, CodeConsistency, "twice in a row " + last.text}
	}
	return Verdict{}
}

// judged compares the last point with the earlier ones.
func judged(history []Point, warmup int64) (w worse) {
	last := history[len(history)-1]
	var rep, con, between []float64
	for _, p := range history[:len(history)-1] {
		if p.Step >= warmup && p.measured() {
			rep = append(rep, p.excess("rep"))
			con = append(con, p.Metrics["consistency"].Value)
			between = append(between, p.Metrics["between"].Value)
		}
	}
	if len(rep) < earlier || !last.measured() {
		return worse{}
	}
	by := func(d, se float64) bool { return d > max(worseFloor, worseSigmas*se) }
	r, c, x := last.excess("rep"), last.Metrics["consistency"], last.Metrics["between"]
	w.repetition = by(r-median(rep), last.Metrics["rep"].SE)
	w.consistency = by(median(con)-c.Value, c.SE) || by(x.Value-median(between), x.SE)
	w.text = fmt.Sprintf("excess repetition is %.3f (median of the %d earlier evaluations %.3f), prompt consistency "+
		"%.3f (%.3f), likeness between prompts %.3f (%.3f)",
		r, len(rep), median(rep), c.Value, median(con), x.Value, median(between))
	return w
}

func articleStop(history []Point) Verdict {
	if len(history) < 2 {
		return Verdict{}
	}
	a, b := history[len(history)-2], history[len(history)-1]
	if !a.measured() || !b.measured() {
		return Verdict{}
	}
	was, is := a.Metrics, b.Metrics
	if is["rep4"].Value > was["rep4"].Value && is["within"].Value < was["within"].Value {
		return Verdict{true, CodeStop, fmt.Sprintf("repetition rose from %.3f to %.3f and the consistency of "+
			"prompts fell from %.3f to %.3f (rule article: any change counts)",
			was["rep4"].Value, is["rep4"].Value, was["within"].Value, is["within"].Value)}
	}
	return Verdict{}
}
