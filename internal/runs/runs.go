// Package runs reads runs that are finished, running or crashed, also other people's.
//
// [List] and [Read] describe runs in a few numbers. [Why] shows what happened in a run, from its log alone, and replays
// the decisions of the guard. [Compare] puts runs side by side. [OpenPage] opens the texts of an evaluation for a
// person to mark. [Report] and [PostMortem] are what the trainer writes into a run when it ends. [Remove] deletes a
// run.
//
// A run is named by its directory, or by its name below runs/. If something in it is missing or damaged, that is
// reported and the rest is still read. Reading takes no lock, writes nothing, follows no link that leads out of a run,
// and reads a bounded part of files that may be anything. The package never trains: it knows files and numbers, no
// model.
package runs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// State is the state of a run.
type State string

// The states of a run.
const (
	Running      State = "running"       // a process holds its lock
	Done         State = "done"          // all steps are made
	StoppedEarly State = "stopped early" // by the judge
	Stopped      State = "stopped"       // by the guard; Run.Code says why
	Interrupted  State = "interrupted"   // saved, and can be resumed
	Failed       State = "failed"        // with the error in Run.Detail
	Crashed      State = "crashed"       // no end record, and nobody holds its lock
	Broken       State = "broken"        // neither log nor configuration nor checkpoint can be read
)

// Run is a run in a few numbers.
type Run struct {
	Dir      string       `json:"dir"`
	State    State        `json:"state"`
	Code     string       `json:"code,omitempty"`   // of the event for which the guard stopped it
	Detail   string       `json:"detail,omitempty"` // the error of a failed run, and what cannot be read
	Step     int64        `json:"step"`             // updates done
	Steps    int64        `json:"steps"`            // planned; 0: not known
	Loss     runlog.Float `json:"val_loss,omitempty"`
	Baseline runlog.Float `json:"baseline_loss,omitempty"` // n-grams; both are nats per token, 0: no evaluation
	Events   Events       `json:"events"`
	Bytes    int64        `json:"bytes"`          // on disk
	Began    time.Time    `json:"began,omitzero"` // first record
	Wrote    time.Time    `json:"wrote,omitzero"` // last record; without one, when the directory was changed

	// Partial says that the middle of a very long log was left out: there may be more events.
	Partial bool `json:"partial,omitempty"`
}

// Events counts the events of a log by severity.
type Events struct {
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Notes    int `json:"notes"`
}

// List describes the runs directly below folders, newest first, and folders that are runs themselves. Without folders
// it lists runs/. Only a folder that cannot be listed is an error: a run that cannot be read is in the list.
func List(folders ...string) ([]Run, error) {
	if len(folders) == 0 {
		folders = []string{rundir.Parent}
	}
	list := []Run{}
	for _, folder := range folders {
		if rundir.IsRun(folder) {
			list = append(list, Read(folder))
			continue
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, unreadablef("list the runs in %s: %w", folder, err)
		}
		for _, e := range entries {
			if dir := filepath.Join(folder, e.Name()); started(dir) {
				list = append(list, Read(dir))
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Run) int {
		return cmp.Or(b.began().Compare(a.began()), strings.Compare(b.Dir, a.Dir))
	})
	return list, nil
}

// began is when a run began, as far as that is known.
func (r Run) began() time.Time {
	if r.Began.IsZero() {
		return r.Wrote
	}
	return r.Began
}

// started reports whether dir holds a run, or one that died before it wrote anything but its lock.
func started(dir string) bool {
	if rundir.IsRun(dir) {
		return true
	}
	lock, err := os.Lstat(filepath.Join(dir, rundir.LockFile))
	samples, serr := os.Lstat(filepath.Join(dir, rundir.Samples))
	return err == nil && serr == nil && lock.Mode().IsRegular() && samples.IsDir()
}

// Read describes the run in dir. It does not fail: what cannot be read is left out, and Detail says so.
func Read(dir string) Run {
	var changed time.Time
	if info, err := os.Stat(dir); err == nil {
		changed = info.ModTime()
	}
	bytes, err := size(dir)
	if err != nil {
		return Run{Dir: dir, State: Broken, Detail: problem("the directory", err), Wrote: changed}
	}
	log, logErr := summarize(dir)
	cfg, configErr := readConfig(dir)
	saved := newestStep(dir)

	r := log.Run
	r.Dir, r.Bytes = dir, bytes
	if r.Wrote.IsZero() {
		r.Wrote = changed
	}
	if log.records == 0 {
		r.Step = max(saved, 0)
	}
	if r.Steps == 0 && configErr == nil {
		r.Steps = cfg.Train.Steps
	}
	if logErr == nil && log.top < saved { // a save comes after its records
		logErr = fmt.Errorf("it ends at step %d, and there is a checkpoint of step %d: it was cut short or replaced",
			log.top, saved)
	}
	held := durable.Held(filepath.Join(dir, rundir.LockFile))
	noCheckpoint := ""
	switch {
	case errors.Is(held, durable.ErrLocked):
		r.State = Running
		return r // what is not there yet is about to be written
	case log.end != nil:
		r.State, r.Code, r.Detail = ended(*log.end)
	case log.records == 0 && configErr != nil && saved < 0:
		r.State, noCheckpoint = Broken, "no checkpoint"
	default:
		r.State = Crashed
	}
	r.Detail = strings.Join(slices.DeleteFunc([]string{r.Detail, noCheckpoint, problem(rundir.LogFile, logErr),
		problem(rundir.ConfigFile, configErr), problem(rundir.LockFile, held)},
		func(s string) bool { return s == "" }), "; ")
	return r
}

// ended is the state of a run by its end record.
func ended(e runlog.End) (s State, code, detail string) {
	code, byGuard := strings.CutPrefix(e.Reason, "stopped: ")
	failure, failed := strings.CutPrefix(e.Reason, "failed: ")
	switch {
	case byGuard:
		return Stopped, code, ""
	case failed:
		return Failed, "", failure
	case e.Reason == "done" || e.Reason == "stopped early" || e.Reason == "interrupted":
		return State(e.Reason), "", ""
	}
	switch e.ExitCode { // a program that gives other reasons wrote it
	case 0:
		return Done, "", ""
	case 3:
		return Stopped, "", e.Reason
	case 75:
		return Interrupted, "", ""
	}
	return Failed, "", e.Reason
}

// problem says in a few words what is wrong with a file of a run; "" if nothing is.
func problem(name string, err error) string {
	var path *fs.PathError
	var faults *config.Error
	switch {
	case err == nil:
		return ""
	case errors.Is(err, fs.ErrNotExist):
		return "no " + name
	case errors.As(err, &faults):
		return faults.Faults[0].String() // which names the file
	case errors.As(err, &path):
		err = path.Err
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return name + ": " + first
}

// find returns the directory of the run that a person names.
func find(name string) (dir string, err error) {
	if dir, err = rundir.Find(name); err == nil && dir == "" {
		err = unreadablef("%s is no run: it has no %s, %s or %s", name, rundir.ConfigFile, rundir.LogFile,
			rundir.Checkpoints)
	}
	return dir, err
}

// Find describes the run that a person names.
func Find(name string) (Run, error) {
	dir, err := find(name)
	if err != nil {
		return Run{}, err
	}
	return Read(dir), nil
}

// unreadable is an error that matches rundir.ErrCheckpoint and has its own text.
type unreadable struct{ error }

func (e unreadable) Unwrap() []error { return []error{rundir.ErrCheckpoint, e.error} }

func unreadablef(format string, args ...any) error { return unreadable{fmt.Errorf(format, args...)} }
