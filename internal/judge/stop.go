package judge

import "fmt"

// Verdict says whether a run should stop.
type Verdict struct {
	Stop   bool
	Code   string // event code of an alarm or of the stop, empty when nothing is wrong
	Reason string // one sentence with the numbers
}

// Event codes of this package's decisions.
const (
	CodeStop        = "J-STOP"        // repetition and consistency are both worse, twice in a row
	CodePatience    = "J-PATIENCE"    // no lower validation loss for as long as was allowed
	CodeRepetition  = "W-REPETITION"  // repetition alone is worse, twice in a row
	CodeConsistency = "W-CONSISTENCY" // consistency alone is worse, twice in a row
	CodeIllusion    = "W-ILLUSION"    // the loss falls while the writing gets worse, or proves little
)

const (
	earlier     = 4    // evaluations that must precede one that is called worse
	worseFloor  = 0.01 // least difference that is called worse
	worseSigmas = 2.45 // standard errors that chance may explain
)

// StopOptions say how the history is judged.
type StopOptions struct {
	Rule     string // Sound, Article or Off
	Warmup   int64  // steps; evaluations before its end are not compared with
	Patience int    // evaluations without a lower validation loss; 0: the loss never stops a run
}

// Stop judges the last point of a history. It is pure. docs/judge.md has the rules.
//
// Sound stops when repetition and prompt consistency are both worse than the median of the earlier evaluations, twice
// in a row. One of the two alone, twice in a row, is a warning. Article stops when both are worse than at the
// evaluation before. That stops a run that does not change in three of four cases within five evaluations.
func Stop(history []Point, opt StopOptions) (v Verdict) {
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
		return Verdict{true, CodePatience, fmt.Sprintf("the validation loss is %.4f; its lowest was %.4f at step %d, %s ago",
			history[len(history)-1].Loss, history[best].Loss, history[best].Step, plural(since, "evaluation"))}
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
		if n := len(history) - back; n > 0 {
			return judged(history[:n], warmup)
		}
		return worse{}
	}
	last, before := at(0), at(1)
	rep, con := last.repetition && before.repetition, last.consistency && before.consistency
	switch {
	case rep && con:
		return Verdict{true, CodeStop, "repetition and prompt consistency were worse twice in a row: " + last.text}
	case rep && !at(2).repetition: // reported once, when it begins
		return Verdict{false, CodeRepetition, "repetition was worse twice in a row: " + last.text}
	case con && !at(2).consistency:
		return Verdict{false, CodeConsistency, "prompt consistency was worse twice in a row: " + last.text}
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
	w.text = fmt.Sprintf("excess repetition %.3f (median of the %d earlier evaluations %.3f), prompt consistency %.3f "+
		"(%.3f), similarity between prompts %.3f (%.3f)",
		r, len(rep), median(rep), c.Value, median(con), x.Value, median(between))
	return w
}

func articleStop(history []Point) Verdict {
	n := len(history)
	if n < 2 || !history[n-2].measured() || !history[n-1].measured() {
		return Verdict{}
	}
	was, is := history[n-2].Metrics, history[n-1].Metrics
	if is["rep4"].Value > was["rep4"].Value && is["within"].Value < was["within"].Value {
		return Verdict{true, CodeStop, fmt.Sprintf("repetition rose from %.3f to %.3f and the similarity of texts of one "+
			"prompt fell from %.3f to %.3f (rule article: any change counts)",
			was["rep4"].Value, is["rep4"].Value, was["within"].Value, is["within"].Value)}
	}
	return Verdict{}
}
