package gimbal

import (
	"time"

	"gimbal/internal/runs"
)

// RunState is how a run stands.
type RunState string

// The states of a run.
const (
	RunRunning      RunState = "running"       // a process works on it
	RunDone         RunState = "done"          // all steps are made
	RunStoppedEarly RunState = "stopped early" // its texts became worse; the best checkpoint was kept
	RunStopped      RunState = "stopped"       // by the guard, for the event Run.Code
	RunInterrupted  RunState = "interrupted"   // saved, and can be resumed
	RunFailed       RunState = "failed"        // with an error, which Run.Detail has
	RunCrashed      RunState = "crashed"       // its process ended without a word
	RunBroken       RunState = "broken"        // nothing in it can be read
)

// Run is a run in a few numbers.
type Run struct {
	Dir          string    // of the run
	State        RunState  // how it stands
	Code         string    // of the event for which the guard stopped it
	Detail       string    // the error of a failed run, and what of it cannot be read
	Step         int64     // updates made
	Steps        int64     // planned; 0: unknown
	Loss         float64   // of the last evaluation, nats per token; 0: there was none
	BaselineLoss float64   // of the best n-gram model on the same text, nats per token; 0: there was no evaluation
	Errors       int       // events of that severity
	Warnings     int       // events of that severity
	Notes        int       // events of severity "info"
	Bytes        int64     // on disk
	Began        time.Time // first record; zero: unknown
	Wrote        time.Time // last record; without one, when the directory was changed
	Partial      bool      // the middle of a very long log was left out: there may be more events
}

// Runs lists the runs directly below folders, newest first, and folders that are runs themselves. Without folders it
// lists those below runs/. A run that cannot be read is in the list; Runs fails only if a folder cannot be listed.
func Runs(folders ...string) ([]Run, error) {
	found, err := runs.List(folders...)
	if err != nil {
		return nil, err
	}
	var list []Run
	for _, r := range found {
		list = append(list, Run{Dir: r.Dir, State: RunState(r.State), Code: r.Code, Detail: r.Detail, Step: r.Step,
			Steps: r.Steps, Loss: float64(r.Loss), BaselineLoss: float64(r.Baseline), Errors: r.Events.Errors,
			Warnings: r.Events.Warnings, Notes: r.Events.Notes, Bytes: r.Bytes, Began: r.Began, Wrote: r.Wrote,
			Partial: r.Partial})
	}
	return list, nil
}

// Comparison is runs side by side, each by the evaluation of its chosen checkpoint, else by its last evaluation.
type Comparison struct {
	Runs []ComparedRun // in the order of the paths
	Rows []ComparedRow // one for each metric that a run has
	Note string        // what cannot be compared, and why; empty: everything can
}

// ComparedRun is one run of a [Comparison].
type ComparedRun struct {
	Dir        string   // of the run
	Step       int64    // of the evaluation
	Chosen     bool     // it is that of the stable checkpoint
	Parameters int64    // of the model
	Baseline   Baseline // as in Result
}

// ComparedRow is one metric of all runs.
type ComparedRow struct {
	Metric string          // "val_loss" (nats per token), "bits_per_byte", or one of MetricNames
	Values []ComparedValue // in the order of the runs
}

// ComparedValue is a metric of one run.
type ComparedValue struct {
	Missing    bool    // the run does not have it; the numbers are NaN
	Value      float64 // of the metric
	Lo, Hi     float64 // 95 % interval
	Human      float64 // the same metric of human text; NaN: there is none
	Difference bool    // it differs from that of the first run by more than three standard errors
}

// Compare puts runs side by side and says which of their differences are more than chance. It fails with a
// [CheckpointError] if one of them cannot be read, or if fewer than two have been evaluated.
func Compare(paths ...string) (*Comparison, error) {
	found, err := runs.Compare(paths)
	if err != nil {
		return nil, classify(err, "")
	}
	c := &Comparison{Note: found.Note}
	for _, r := range found.Runs {
		c.Runs = append(c.Runs, ComparedRun{r.Dir, r.Step, r.Chosen, r.Parameters, baseline(r.Baseline)})
	}
	for _, row := range found.Rows {
		public := ComparedRow{Metric: row.Metric}
		for _, v := range row.Values {
			public.Values = append(public.Values, ComparedValue{v.Missing, float64(v.Value), float64(v.Lo), float64(v.Hi),
				float64(v.Human), v.Real})
		}
		c.Rows = append(c.Rows, public)
	}
	return c, nil
}
