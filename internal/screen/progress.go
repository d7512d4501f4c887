package screen

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gimbal"
	"gimbal/internal/plan"
	"gimbal/internal/runs"
)

// Level is how much is told.
type Level int

const (
	Quiet   Level = -1 // errors, and results
	Normal  Level = 0
	Verbose Level = 1 // everything
)

// Progress tells a person what a run does: in lines, and on a terminal in a live line below them, too. It is safe for
// concurrent use: a run, its live line and an interrupt speak at any time.
type Progress struct {
	level Level
	now   func() time.Time
	began time.Time

	checked atomic.Bool // the checks are made: a run is about to begin
	begun   atomic.Bool // a run trains, and an interrupt saves it

	mu     sync.Mutex
	screen *screen
	ticker *time.Timer // draws the live line; nil: there is none

	run     told
	doing   string         // what is being done before the first step
	events  map[string]int // by their code
	stepped time.Time      // when a step was last told in a line of its own
	paced   bool           // it was told how long the run takes
}

// told is what was told of a run.
type told struct {
	clock  clock
	checks []gimbal.CheckResult
	step   gimbal.Step
	loss   float64 // of the batches, smoothed
	look   *gimbal.Look
	evals  []evaluation
}

// evaluation is a measurement, and the tokens that were learned until then.
type evaluation struct {
	gimbal.Evaluation
	tokens int64
}

// NewProgress returns a progress that writes to w.
func NewProgress(w io.Writer, l Level) *Progress {
	return &Progress{level: l, now: time.Now, began: time.Now(), screen: newScreen(w), events: map[string]int{}}
}

// Tell tells what a call of the library has to tell.
func (p *Progress) Tell(what gimbal.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch v := what.(type) {
	case gimbal.Note:
		p.note(string(v))
	case gimbal.Detail:
		p.detail(string(v))
	case gimbal.Checks:
		p.checked.Store(true)
		p.run.checks = v
	case *gimbal.Plan:
		p.begun.Store(true)
		p.run.clock.start(v)
		p.doing = "training"
		if p.level > Quiet {
			p.planned(v)
		}
	case gimbal.Step:
		p.step(v)
	case gimbal.Look:
		p.run.look = &v
		if p.level == Verbose {
			p.say(v.String())
		}
	case gimbal.Evaluation:
		p.evaluation(v)
	case gimbal.Event:
		p.event(v)
	}
}

// say prints lines, above the live one.
func (p *Progress) say(text string) { p.screen.say(text, p.live()) }

// message is a text wrapped to three lines of the screen at most. At level Verbose it is left whole, for grep.
func (p *Progress) message(text string) string {
	if p.level == Verbose {
		return runs.Escape(text)
	}
	return wrap(text, p.screen.width(), 2, 3)
}

// note tells a sentence that a person should read.
func (p *Progress) note(text string) {
	colour := ""
	if strings.HasPrefix(text, "warning: ") {
		colour = yellow
	}
	if p.level > Quiet {
		p.say(p.screen.paint(colour, p.message("gimbal: "+text)))
	}
}

// Notef tells a sentence that a person should read.
func (p *Progress) Notef(format string, args ...any) {
	p.Tell(gimbal.Note(fmt.Sprintf(format, args...)))
}

// detail tells a sentence for whoever wants to know more. To others it is the live line, until there are steps.
func (p *Progress) detail(text string) {
	switch p.level {
	case Verbose:
		p.say(p.message("gimbal: " + text))
	case Normal:
		p.doing = runs.Escape(text)
		p.start()
	}
}

// Detailf tells a sentence for whoever wants to know more.
func (p *Progress) Detailf(format string, args ...any) {
	p.Tell(gimbal.Detail(fmt.Sprintf(format, args...)))
}

// stepEvery is how often a step has a line of its own, where everything is told and there is no live line.
const stepEvery = 5 * time.Second

// step takes an update.
func (p *Progress) step(s gimbal.Step) {
	r, now := &p.run, p.now()
	r.clock.stepped(now, s)
	r.step = s
	if s.Loss-s.Loss == 0 { // a finite one
		r.loss += (s.Loss - r.loss) / float64(min(r.clock.n, horizon))
	}
	p.start()
	due := now.Sub(p.stepped) >= stepEvery || s.Step == 1 || s.Step == s.Steps
	if p.level == Verbose && !p.screen.live && due {
		p.stepped = now
		left, _ := r.clock.left(now)
		p.say(fmt.Sprintf("step %d/%d  loss %.4f  grad norm %.3g  lr %.3g  %s tokens/s  left %s", s.Step, s.Steps, s.Loss,
			s.GradNorm, s.LR, plan.Count(int64(s.TokensPerSecond)), clockText(left)))
	}
	p.pace(now)
}

// pace says how long the run takes, once: as soon as steps show that the machine is slower than planned, or where
// nothing was planned and no live line shows it.
func (p *Progress) pace(now time.Time) {
	c := &p.run.clock
	planned := c.plan.Duration > 0
	if p.paced || !c.settled() || planned && !c.slow() || !planned && p.screen.live {
		return
	}
	p.paced = true
	left, _ := c.left(now)
	speed := float64(c.plan.BatchTokens) / c.step
	text := fmt.Sprintf("about %s left at %s tokens/s", aboutText(left), plan.Count(int64(speed)))
	if planned {
		text = fmt.Sprintf("slower than planned: %s, not %s", text, plan.Count(int64(c.plan.TokensPerSecond)))
	}
	p.note(text)
}

// Checked reports whether the checks of a run are made: it is about to begin.
func (p *Progress) Checked() bool { return p.checked.Load() }

// Interrupted says what an interrupt does to a run that trains. Everything else ends without a word but its error.
func (p *Progress) Interrupted() {
	if !p.begun.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say("gimbal: stopping after this step and saving; interrupt again to leave at once")
}

// Leave removes the live line of a program that ends at once, and says its error, if there is one. It does not wait for
// a message that is being written, and no message follows.
func (p *Progress) Leave(err error) {
	if !p.mu.TryLock() {
		return
	}
	p.screen.draw("")
	if err != nil {
		p.screen.say(fmt.Sprintf("gimbal: error: %v", err), "")
	}
	if o, ok := p.screen.w.(*Sink); ok {
		o.Flush(Hasty)
	}
}
