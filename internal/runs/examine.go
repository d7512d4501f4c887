package runs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
)

// The states of a part of a run.
const (
	Whole   = "whole"
	Damaged = "damaged" // or missing
	Foreign = "refused" // a link, or what may belong to something else
	Litter  = "litter"  // of a process that was killed
	Unended = "unended" // a log whose last process left no end record
)

// Part is a file or directory of a run.
type Part struct {
	Name   string `json:"name"` // below the run
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
	Mends  bool   `json:"mends,omitempty"` // Repair mends it
}

// Examination is what Examine found.
type Examination struct {
	Dir    string `json:"dir"`
	Parts  []Part `json:"parts"`
	Resume string `json:"resume"`  // what a resume would do
	GoesOn bool   `json:"goes_on"` // it would go on, or there is nothing left to do
	Mended []Part `json:"mended,omitempty"`

	newest *checkpoint.Checkpoint // nil: none is whole
	facts  rundir.Facts
}

// Healthy reports whether everything is whole.
func (x *Examination) Healthy() bool {
	return !slices.ContainsFunc(x.Parts, func(p Part) bool { return p.State != Whole })
}

// Examine reads all of the run in dir and says what is whole and what a resume would do. It writes nothing, and the run
// may be in progress.
func Examine(dir string) (*Examination, error) {
	x := &Examination{Dir: dir}
	infos, err := checkpoint.List(durable.Inside(dir), rundir.CheckpointsOf(dir))
	if err != nil {
		x.add(rundir.Checkpoints, err, false)
	}
	for _, info := range infos {
		c, err := checkpoint.Open(durable.Inside(dir), info.Path)
		x.add(filepath.Join(rundir.Checkpoints, filepath.Base(info.Path)), err, false)
		switch {
		case err != nil:
		case x.newest == nil:
			x.newest = c
		default:
			c.Close() // it was only read
		}
	}
	defer func() {
		if x.newest != nil {
			x.newest.Close()
		}
	}()
	blocked := x.companions()
	if err := x.walk(); err != nil {
		return nil, unreadablef("examine %s: %w", dir, err)
	}
	x.Resume, x.GoesOn = x.resume(blocked), x.newest != nil && blocked == nil
	return x, nil
}

// add adds a part; err says what is wrong with it.
func (x *Examination) add(name string, err error, mends bool) {
	p := Part{Name: name, State: Whole}
	if err != nil {
		p.State, p.Detail, p.Mends = Damaged, err.Error(), mends
		if errors.Is(err, durable.ErrLink) {
			p.State = Foreign
		}
	}
	x.Parts = append(x.Parts, p)
}

// companions compares what lies beside the checkpoints with the newest one that is whole, and returns why a resume
// would refuse it.
func (x *Examination) companions() (blocked error) {
	if x.newest != nil {
		if _, none := x.newest.File(rundir.StateFile); errors.Is(none, fs.ErrNotExist) { // it was imported
			_, err := checkpoint.Marks(durable.Inside(x.Dir), rundir.CheckpointsOf(x.Dir))
			x.add(filepath.Join(rundir.Checkpoints, "marks.json"), err, false)
			return fmt.Errorf("it has weights only; begin a run with them: gimbal train --from %s", x.Dir)
		}
	}
	_, conf := rundir.Config(x.Dir)
	mends := false
	if x.newest != nil {
		_, err := x.newest.File(rundir.ConfigCopy)
		mends = err == nil
	}
	x.add(rundir.ConfigFile, conf, mends)
	log, logErr := rundir.Log(x.Dir)
	marks, marksErr := checkpoint.Marks(durable.Inside(x.Dir), rundir.CheckpointsOf(x.Dir))
	var tok error
	if x.newest != nil {
		if x.facts, blocked = rundir.ReadFacts(x.newest); blocked != nil {
			return blocked
		}
		logErr = cmp.Or(x.facts.CheckLog(x.Dir, x.newest.Path()), logErr)
		tok = x.facts.CheckTokenizer(x.Dir, x.newest)
		x.add(rundir.TokenizerFile, tok, true)
		if own := x.marks(); marksErr == nil && own != nil && x.Parts[0].State == Whole && !equalMarks(own, marks) {
			// Nothing newer replaced them.
			marksErr = fmt.Errorf("its names are not those of the newest state: %v", own)
		}
	}
	blocked = errors.Join(conf, logErr, tok)
	if logErr == nil && log.Altered > 0 {
		logErr = fmt.Errorf("behind the newest checkpoint, lines were altered, removed or put in, in %s",
			Plural(log.Altered, "place"))
	}
	x.add(rundir.LogFile, logErr, false)
	if logErr == nil && log.Torn {
		x.Parts = append(x.Parts, Part{Name: rundir.LogFile, State: Litter,
			Detail: "its last line is incomplete, and the next process leaves it there"})
	}
	if logErr == nil && Read(x.Dir).State == Crashed {
		x.Parts = append(x.Parts, Part{Name: rundir.LogFile, State: Unended,
			Detail: "the last process left no end record: it was killed, or the end of the log was cut off"})
	}
	x.add(filepath.Join(rundir.Checkpoints, "marks.json"), marksErr, x.marks() != nil)
	return blocked
}

// marks are those of the newest state, if all the checkpoints that they name are whole; nil: they are not known.
func (x *Examination) marks() map[string]int64 {
	for _, step := range x.facts.Marks {
		if step >= 0 && !slices.ContainsFunc(x.Parts, func(p Part) bool {
			return p.State == Whole && filepath.Base(p.Name) == checkpoint.StepName(step)
		}) {
			return nil
		}
	}
	return x.facts.Marks
}

// equalMarks reports whether the marks on the disk are those of a state.
func equalMarks(own, there map[string]int64) bool {
	n := 0
	for name, step := range own {
		if at, ok := there[name]; step >= 0 && (!ok || at != step) || step < 0 && ok {
			return false
		}
		if step >= 0 {
			n++
		}
	}
	return n == len(there)
}

// walk finds litter and links.
func (x *Examination) walk() error {
	known := func(name string) bool {
		return slices.ContainsFunc(x.Parts, func(p Part) bool { return p.Name == name })
	}
	return filepath.WalkDir(x.Dir, func(path string, e fs.DirEntry, err error) error {
		name, rerr := filepath.Rel(x.Dir, path)
		switch {
		case err != nil:
			x.add(name, err, false)
			return nil
		case rerr != nil || name == ".":
			return rerr
		case name == rundir.Aside:
			return filepath.SkipDir
		case unfinished(e.Name()):
			x.Parts = append(x.Parts, Part{Name: name, State: Litter, Mends: true})
			if e.IsDir() {
				return filepath.SkipDir
			}
		case known(name) && e.IsDir(), e.IsDir() && name == rundir.Cache:
			return filepath.SkipDir
		case !e.IsDir() && !known(name):
			if _, err := durable.Inside(x.Dir).Stat(path); err != nil {
				x.add(name, err, false)
			} else if !e.Type().IsRegular() {
				x.add(name, durable.ErrLink, false)
			}
		}
		return nil
	})
}

// resume says what a resume would do.
func (x *Examination) resume(blocked error) string {
	held := durable.Held(filepath.Join(x.Dir, rundir.LockFile))
	switch {
	case errors.Is(held, durable.ErrLocked):
		return "it is running: " + held.Error()
	case x.newest == nil && len(x.Parts) > 0 && !strings.HasPrefix(x.Parts[0].Name, rundir.Checkpoints):
		return "there is no checkpoint: start the run again with the same --out"
	case x.newest == nil:
		return "it refuses: no checkpoint is whole"
	case blocked != nil:
		return "it refuses: " + blocked.Error()
	}
	at := fmt.Sprintf("it goes on from step %d (%s)", x.newest.Step(), filepath.Base(x.newest.Path()))
	if cfg, err := rundir.Config(x.Dir); err == nil && x.newest.Step() >= cfg.Train.Steps {
		at = fmt.Sprintf("all %d steps are done; --steps extends it", cfg.Train.Steps)
	}
	if s, _ := summarize(x.Dir); s.top > x.newest.Step() {
		at += fmt.Sprintf("; %s behind it are made again", Plural(s.top-x.newest.Step(), "step"))
	}
	return at
}

// Err is an error that says how many parts are not whole; nil: all are.
func (x *Examination) Err() error {
	n := 0
	for _, p := range x.Parts {
		if p.State != Whole && p.State != Litter {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return unreadablef("not whole in %s: %s", x.Dir, Plural(n, "part"))
}

// Write prints the examination.
func (x *Examination) Write(w io.Writer) error {
	for _, p := range x.Mended {
		fmt.Fprintf(w, "mended   %s: what was there is in %s\n", Escape(p.Name), rundir.Aside)
	}
	for _, p := range x.Parts {
		note := ""
		if p.Detail != "" {
			note = ": " + p.Detail
		}
		if p.Mends {
			note += " (--repair mends it)"
		}
		fmt.Fprintf(w, "%-8s %s%s\n", p.State, Escape(p.Name), EscapeText(note))
	}
	_, err := fmt.Fprintf(w, "resume:  %s\n", EscapeText(x.Resume))
	return err
}
