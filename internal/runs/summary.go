package runs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"gimbal/internal/durable"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// List reads only the beginning and the end of a log that is longer than both: how the run began, and how it stands.
// Together they hold about 200,000 steps.
const (
	summaryHead = 8 << 20
	summaryTail = 56 << 20
	summaryLine = 1 << 20 // bytes; no record that a summary uses is longer
)

// summary is what List takes from a log. The log is read line by line, and little is kept.
type summary struct {
	Run     // as far as the log knows it
	records int
	top     int64         // highest step of a record
	evals   []runlog.Eval // without metrics
	end     *runlog.End   // of the last process; nil: it has none
	sums    runlog.Chain
}

// summarize reads the log of the run in dir. With an error the summary holds what could be read.
func summarize(dir string) (s summary, err error) {
	f, err := durable.Inside(dir).Open(filepath.Join(dir, rundir.LogFile))
	if err != nil {
		return s, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return s, err
	}
	if n := info.Size(); n <= summaryHead+summaryTail {
		err = s.read(f)
	} else { // lines that are cut cannot be parsed
		s.Partial = true
		err = s.read(io.NewSectionReader(f, 0, summaryHead))
		s.sums.Skip()
		err = errors.Join(err, s.read(io.NewSectionReader(f, n-summaryTail, summaryTail)))
	}
	if n := s.sums.Altered(); err == nil && n > 0 {
		err = fmt.Errorf("lines were altered, removed or put in, in %s", Plural(n, "place"))
	}
	if n := len(s.evals); n > 0 {
		s.Loss, s.Baseline = s.evals[n-1].ValLoss, s.evals[n-1].BaselineLoss
	}
	if err == nil && s.records == 0 {
		err = errors.New("no record of a run")
	}
	return s, err
}

// read takes lines to the end. It skips lines that are too long.
func (s *summary) read(r io.Reader) error {
	br := bufio.NewReaderSize(r, summaryLine)
	for tooLong := false; ; {
		line, err := br.ReadSlice('\n')
		if s.sums.Take(line); errors.Is(err, bufio.ErrBufferFull) {
			s.sums.Skip()
		}
		if !tooLong && !errors.Is(err, bufio.ErrBufferFull) {
			s.add(line)
		}
		tooLong = errors.Is(err, bufio.ErrBufferFull)
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !tooLong:
			return err
		}
	}
}

// add takes one line, which may be anything. It keeps the same evaluations as runlog.Log.Effective.
func (s *summary) add(line []byte) {
	if line = bytes.TrimSpace(line); len(line) == 0 || line[0] != '{' {
		return
	}
	var r struct {
		Kind string `json:"kind"`
		runlog.At
	}
	if json.Unmarshal(line, &r) != nil || r.Attempt < 1 { // every record of ours has an attempt
		return
	}
	switch r.Kind {
	case "start":
		s.Step, s.end = r.Step, nil
	case "resume":
		s.Step, s.end = r.Step, nil
		s.drop(func(e runlog.Eval) bool {
			return r.Batch > 0 && e.Batch > r.Batch || r.Batch == 0 && e.Step > r.Step
		})
	case "rewind":
		s.Step = r.Step
		s.drop(func(e runlog.Eval) bool { return e.Step > r.Step })
	case "step":
		s.Step = r.Step
	case "end":
		var end runlog.End
		if json.Unmarshal(line, &end) != nil {
			return
		}
		s.Step, s.end = r.Step, &end
	case "plan":
		var plan struct{ Steps int64 }
		if json.Unmarshal(line, &plan) == nil && plan.Steps > 0 {
			s.Steps = plan.Steps
		}
	case "eval":
		var e runlog.Eval
		if json.Unmarshal(line, &e) != nil {
			return
		}
		e.Metrics = nil
		s.evals = append(s.evals, e)
	case "event":
		s.count(line)
	case "refused", "layers", "probe", "preflight":
	default:
		return
	}
	s.records++
	s.top = max(s.top, r.Step)
	if !r.Time.IsZero() {
		if s.Began.IsZero() {
			s.Began = r.Time
		}
		s.Wrote = r.Time
	}
}

// drop drops the newest evaluations, which came after the place that the run went back to.
func (s *summary) drop(after func(runlog.Eval) bool) {
	for n := len(s.evals); n > 0 && after(s.evals[n-1]); n-- {
		s.evals = s.evals[:n-1]
	}
}

func (s *summary) count(line []byte) {
	var e struct{ Severity string }
	if json.Unmarshal(line, &e) != nil {
		return
	}
	switch e.Severity {
	case "error":
		s.Events.Errors++
	case "warning":
		s.Events.Warnings++
	default:
		s.Events.Notes++
	}
}
