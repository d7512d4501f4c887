package train

import (
	"time"

	"gimbal/internal/mirror"
	"gimbal/internal/runlog"
)

// openMirror begins to copy the run to object storage, if the configuration says where. No failure of a copy ends the
// run.
func (t *run) openMirror() error {
	url := t.plan.Config.Checkpoint.Mirror
	if url == "" {
		return nil
	}
	if !mirror.Allowed(url, t.named) {
		t.record.note("the run is not copied to %s: its configuration names that place, and nobody here has; "+
			"to copy it there, resume it with --mirror %s", url, url)
		return nil
	}
	m, err := mirror.Open(url, t.store.Dir)
	if err != nil {
		return t.eventMirror(err)
	}
	t.mirror = m
	t.record.note("copying the run to %s", url)
	return nil
}

// watchMirror records what has changed with the copy.
func (t *run) watchMirror() error {
	if n := t.mirror.News(); n != nil {
		return t.eventMirror(n.Err)
	}
	return nil
}

func (t *run) eventMirror(err error) error {
	if err == nil {
		return t.event(runlog.Event{At: t.at(), Code: "F-MIRROR-BACK", Severity: "info", Action: "none",
			Message: t.plan.Config.Checkpoint.Mirror + " is whole again"})
	}
	return t.event(runlog.Event{At: t.at(), Code: "F-MIRROR-FAILED", Severity: "warning", Action: "go on, try again",
		Message: err.Error()})
}

// A run waits so long for its copy when it ends, and when it is interrupted.
const (
	mirrorWait = time.Minute
	mirrorHalt = 10 * time.Second
)

// endMirror waits for the rest of the copy, and says what it lacks.
func (t *run) endMirror(interrupted bool) {
	wait := mirrorWait
	if interrupted {
		wait = mirrorHalt
	}
	if err := t.mirror.Close(wait); err != nil {
		t.record.note("warning: %v", err)
	}
	t.mirror = nil
}
