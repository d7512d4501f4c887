package screen

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"

	"gimbal"
	"gimbal/internal/plan"
	"gimbal/internal/runs"
)

// early is how a run ended that the judge stopped.
const early = "stopped early"

// Finish prints what a run came to, also when it was interrupted or stopped: samples, the loss in words, what was kept,
// and what to type next. program is what starts this program, err the error of the run.
func (p *Progress) Finish(w io.Writer, program string, r *gimbal.Result, err error) {
	if r.Dir == "" || r.Reason == "already done" {
		return
	}
	width := newScreen(w).width()
	line := func(format string, args ...any) {
		fmt.Fprintln(w, wrap(fmt.Sprintf(format, args...), width, 2, 0))
	}
	if p.level > Quiet {
		for i, s := range r.Samples {
			line("sample %d of %d, after %s:", i+1, len(r.Samples), ending(s.Prompt))
			printBeginning(w, s.Text, width)
		}
	}
	reason, _, _ := strings.Cut(r.Reason, ": ") // the error, or the event, is printed elsewhere
	line("%s after step %d, in %s: %s tokens, %s", reason, r.Step, clockText(p.now().Sub(p.began)), plan.Count(r.Tokens),
		eventsText(r))
	var longer int64
	if r.ValTokens > 0 {
		base, of := p.run.beside(r), ""
		if r.Reason == early && r.Stable != "" {
			of = " of " + filepath.Base(r.Stable) // its weights were restored
		}
		line("validation loss%s %.3f nats/token (%.3f bits/byte), n-gram %s, unigram %.3f", of, r.ValLoss, r.BitsPerByte,
			nats(base), r.Baseline.UnigramLoss)
		var words string
		if words, longer = p.verdict(r, base); words != "" {
			line("%s", words)
		}
		if e := r.Expected; e.Value != 0 && r.Reason == "done" {
			line("expected was %.2f (%.2f to %.2f): %s", e.Value, e.Low, e.High, against(r.ValLoss, e))
		}
	}
	if r.Tuned != nil {
		line("%s", tuned(r.Tuned))
	}
	if r.Stable != "" {
		last := ""
		if r.Checkpoint != r.Stable {
			last = "; the last is " + filepath.Base(r.Checkpoint)
		}
		line("kept as stable: %s%s", cmp.Or(r.StableReason, filepath.Base(r.Stable)), last)
	}
	line("saved to %s", r.Dir)
	line("next:")
	for _, command := range p.next(r, err, longer) {
		fmt.Fprintf(w, "  %s %s\n", program, command)
	}
}

// tuned says in words what became of weights from elsewhere, and what they forgot.
func tuned(u *gimbal.Tuned) string {
	if u.Pairs > 0 {
		return preferred(u) + forgotten(u)
	}
	change, chance := u.Before-u.After, ""
	if u.ChangeError > 0 {
		chance = fmt.Sprintf(" ± %.3f", u.ChangeError)
	}
	on := plan.Count(u.Tokens) + " held-out tokens"
	words := fmt.Sprintf("no better than where it began, on %s: %.3f, then %.3f%s nats/token", on, u.Before, u.After,
		chance)
	if math.Abs(change) > max(asGood, surely*u.ChangeError) {
		how := "better"
		if change < 0 {
			how = "worse"
		}
		words = fmt.Sprintf("%s than where it began by %.3f%s nats/token on %s: %.3f, then %.3f", how,
			math.Abs(change), chance, on, u.Before, u.After)
	}
	return words + forgotten(u)
}

// preferred says in words what became of preferences, with the standard error of a share.
func preferred(u *gimbal.Tuned) string {
	n := float64(u.Pairs)
	words := fmt.Sprintf("prefers the chosen answer in %.0f %% ± %.0f of %d held-out pairs, %.0f %% before; "+
		"loss of a pair %.3f, then %.3f", 100*u.AccuracyAfter, 100*math.Sqrt(u.AccuracyAfter*(1-u.AccuracyAfter)/n),
		u.Pairs,
		100*u.AccuracyBefore, u.Before, u.After)
	switch change := u.Before - u.After; {
	case change > asGood:
		return words + ": better than where it began"
	case change < -asGood:
		return words + ": worse than where it began"
	}
	return words + ": no better than where it began"
}

// forgotten says in words what became of what weights knew; empty where that was not measured.
func forgotten(u *gimbal.Tuned) string {
	if u.OldBefore == 0 || u.OldAfter == 0 { // a run that an older program began has no measure of each checkpoint
		return ""
	}
	return fmt.Sprintf("; on what it knew: %.3f, then %.3f", u.OldBefore, u.OldAfter)
}

// beside is the loss of the n-grams on the tokens behind the loss of a result; NaN where it is not known.
func (r *told) beside(res *gimbal.Result) float64 {
	for _, e := range r.evals {
		if e.Loss == res.ValLoss {
			return e.BaselineLoss
		}
	}
	if res.ValTokens >= res.Baseline.Tokens { // it may end in the middle of a pass
		return res.Baseline.Loss
	}
	return math.NaN()
}

// Losses that differ by less, in nats, are as good as each other.
const asGood = 0.005

// surely is how many standard errors a change has that is not chance.
const surely = 2

// verdict says in words how the loss compares with counting n-grams. Where it is worse, it says about how long a run
// would take to get there, and returns its steps, if that can be estimated.
func (p *Progress) verdict(r *gimbal.Result, base float64) (words string, steps int64) {
	words = Compared(r.ValLoss, base)
	ratio := p.run.longer(r.ValLoss - base)
	if r.Reason != "done" || ratio == 0 {
		return words, 0
	}
	steps = roundUp(float64(r.Step) * ratio)
	c := &p.run.clock
	seconds := c.step*float64(steps) + (c.eval*ratio+c.save)*float64(c.plan.Evaluations) // of longer samples
	return fmt.Sprintf("%s: train longer, about %s on this machine", words,
		aboutText(time.Duration(seconds*float64(time.Second)))), steps
}

// against says in words how a loss compares with what was expected.
func against(loss float64, e gimbal.Range) string {
	switch {
	case loss < e.Low:
		return fmt.Sprintf("%.2f better than the range", e.Low-loss)
	case loss > e.High:
		return fmt.Sprintf("%.2f worse than the range", loss-e.High)
	}
	return fmt.Sprintf("%+.2f, in the range", loss-e.Value)
}

// Compared says in words how a loss compares with that of the n-grams on the same tokens; empty where one is unknown.
func Compared(loss, base float64) string {
	switch behind := loss - base; {
	case math.IsNaN(behind):
		return ""
	case behind < -asGood:
		return fmt.Sprintf("better than counting n-grams by %.2f nats", -behind)
	case behind > asGood:
		return fmt.Sprintf("worse than counting n-grams by %.2f nats", behind)
	}
	return "as good as counting n-grams"
}

// An estimate says nothing of a run that is much longer, or that sees its text too often.
const (
	mostLonger = 10 // times
	mostEpochs = 10
)

// longer estimates how many times as many tokens make up for a loss that is so many nats too high, by the slope of the
// last half of the evaluations against the logarithm of the tokens. 0: that cannot be told.
func (r *told) longer(behind float64) float64 {
	var x, y []float64
	for _, e := range r.evals[len(r.evals)/2:] {
		loss, ok := e.Metrics["val_loss_sample"] // of the same tokens each time
		if ok && e.tokens > 0 {
			x, y = append(x, math.Log(float64(e.tokens))), append(y, loss)
		}
	}
	n := float64(len(x))
	if n < 3 || !(behind > asGood) {
		return 0
	}
	var sx, sy, sxx, sxy float64
	for i := range x {
		sx, sy, sxx, sxy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	slope := (n*sxy - sx*sy) / (n*sxx - sx*sx)
	ratio := math.Exp(-behind / slope)
	if !(slope < 0) || !(ratio <= mostLonger) || ratio*r.clock.plan.Epochs > mostEpochs {
		return 0
	}
	return ratio
}

// roundUp rounds a number of steps up to two digits.
func roundUp(x float64) int64 {
	unit := math.Pow(10, max(0, math.Floor(math.Log10(x))-1))
	return int64(math.Ceil(x/unit) * unit)
}

// next are the commands that come next, for how the run ended. longer is a number of steps that is worth a try; 0: none
// is known.
func (p *Progress) next(r *gimbal.Result, err error, longer int64) []string {
	dir := runs.Quote(r.Dir)
	sample, extend := "sample "+dir, fmt.Sprintf("resume %s --steps %d", dir, cmp.Or(longer, 2*r.Step))
	var stop *gimbal.StopError
	switch {
	case errors.As(err, &stop): // resumed, it would end as it did
		return []string{"why " + dir, strings.TrimPrefix(runs.Again(r.Dir, stop.From, stop.LR), "gimbal ")}
	case r.Reason == "done" && longer > 0:
		return []string{extend, sample, "eval " + dir}
	case r.Reason == "done":
		return []string{sample, "eval " + dir, extend}
	case r.Reason == early:
		return []string{sample, "review " + dir, fmt.Sprintf("resume %s --steps %d", dir, 2*p.run.clock.plan.Steps)}
	}
	return []string{"resume " + dir}
}

// ending is the end of a prompt, in a line.
func ending(prompt string) string {
	last := []rune(strings.Join(strings.Fields(prompt), " "))
	if len(last) > 40 {
		return "…" + string(last[len(last)-40:])
	}
	return string(last)
}

// printBeginning prints the first three lines of a text, broken and clipped to a width.
func printBeginning(w io.Writer, text string, width int) {
	text = strings.ReplaceAll(strings.Trim(runs.EscapeText(text), "\n"), "\t", "    ")
	for i := 1; text != "" && i <= 3; i++ {
		line, rest, _ := strings.Cut(text, "\n")
		if n := fitting(line, width-2); n < len(line) {
			if space := strings.LastIndexByte(line[:n], ' '); space > n/2 {
				n = space + 1
			}
			line, rest = line[:n], text[n:]
		}
		if i == 3 && rest != "" {
			line = clip(line+"…", width-2)
		}
		fmt.Fprintln(w, "  "+strings.TrimRight(line, " "))
		text = rest
	}
}
