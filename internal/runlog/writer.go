package runlog

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"

	"gimbal/internal/durable"
)

// Writer appends records to a log. Safe for concurrent use.
type Writer struct {
	mu      sync.Mutex
	f       durable.File
	path    string
	torn    bool  // the file does not end with a newline
	syncErr error // of the first failed Sync
}

// OpenWriter opens a log for appending, or creates it. A last line that a crash tore is ended by a newline before
// the first record, and stays. One process writes to a log at a time; the caller holds the lock of the run.
func OpenWriter(fsys durable.FS, path string) (w *Writer, err error) {
	fail := func(err error) (*Writer, error) {
		return nil, fmt.Errorf("runlog: open %s: %w", path, err)
	}
	f, err := fsys.Append(path)
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			if cerr := f.Close(); cerr != nil {
				err = fmt.Errorf("%w (and close: %v)", err, cerr)
			}
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	w = &Writer{f: f, path: path}
	if n := info.Size(); n > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], n-1); err != nil {
			return fail(err)
		}
		w.torn = last[0] != '\n'
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return fail(err)
	}
	return w, nil
}

// Write appends one record (Step, Layers, Event, Eval, Start, Resume, End or Plan, by value) as one line with one call
// of the system, so that a crash tears the last line at most. It fills in Kind.
//
// It does not sync: what was written survives the end of the process, but a power loss takes what came after the last
// Sync. After an error the line may be there in part; the next Write begins a new one, so going on is safe.
func (w *Writer) Write(record any) error {
	switch r := record.(type) {
	case Step:
		r.Kind = "step"
		record = r
	case Refused:
		r.Kind = "refused"
		record = r
	case Rewind:
		r.Kind = "rewind"
		record = r
	case Layers:
		r.Kind = "layers"
		record = r
	case Event:
		r.Kind = "event"
		record = r
	case Eval:
		r.Kind = "eval"
		record = r
	case Start:
		r.Kind = "start"
		record = r
	case Resume:
		r.Kind = "resume"
		record = r
	case End:
		r.Kind = "end"
		record = r
	case Plan:
		r.Kind = "plan"
		record = r
	case Probe:
		r.Kind = "probe"
		record = r
	case Preflight:
		r.Kind = "preflight"
		record = r
	default:
		panic("runlog: not a record")
	}
	data, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("runlog: write %s: %w", w.path, err)
	}
	if len(data) > maxLine {
		return fmt.Errorf("runlog: write %s: a record of %d bytes is longer than %d", w.path, len(data), maxLine)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	line := make([]byte, 0, len(data)+2)
	if w.torn {
		line = append(line, '\n')
	}
	line = append(append(line, data...), '\n')
	n, err := w.f.Write(line)
	if n > 0 {
		w.torn = line[n-1] != '\n'
	}
	if err != nil {
		return fmt.Errorf("runlog: write %s: %w", w.path, err)
	}
	return nil
}

// Sync makes all records so far durable. Call it before saving a checkpoint, so that the log never lacks steps that
// a checkpoint has. After it has failed once it fails always: the system may have dropped what it could not
// write, and must not be asked again. Open the log anew to go on syncing.
func (w *Writer) Sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.syncErr == nil {
		if err := w.f.Sync(); err != nil {
			w.syncErr = fmt.Errorf("runlog: sync %s: %w", w.path, err)
		}
	}
	return w.syncErr
}

// Close closes the file without syncing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.f.Close(); err != nil {
		return fmt.Errorf("runlog: close %s: %w", w.path, err)
	}
	return nil
}
