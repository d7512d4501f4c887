// Package mirror keeps a second copy of a run in object storage: anything that speaks S3.
//
// Open starts a goroutine that brings the copy up to date whenever Changed is called. It never stops or slows what it
// copies: what goes wrong is told by News, once for each change, and tried again. Fetch makes a run directory of a
// copy, on another machine.
//
// A copy holds the files of the run and, below checkpoints/, the checkpoints that are kept. Log and configuration are
// written before the checkpoints that bind them, and the manifest of a checkpoint last; every object is read back and
// compared. Only one process may write to a copy, the one that holds the lock of the run.
//
// Endpoint and credentials come from the usual variables (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION,
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN). They are in no file, log or message.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
)

const again = 30 * time.Second // after a failure

// ErrOther says that something else lies where a copy was to be made.
var ErrOther = errors.New("something else lies there: name another checkpoint.mirror")

// News is a change of what can be said of a copy.
type News struct{ Err error } // nil: it is whole again

// Mirror keeps the copy of one run; nil: there is none. Its methods are for one goroutine.
type Mirror struct {
	b    *bucket
	dir  string   // of the run
	root *os.Root // the same: what is copied is never read through a link that leads out of it
	wake chan struct{}
	done chan struct{}
	stop context.CancelFunc

	mu      sync.Mutex
	err     error // of the last try
	news    *News // not yet told
	closing bool

	ours   bool                // what lies there is this run
	sent   map[string]version  // files that were copied
	copied map[string][32]byte // checkpoints that were copied, by name: the hash of the manifest
}

// version tells whether a file has changed.
type version struct {
	size int64
	time time.Time
}

// Open begins to copy the run in dir to url, such as s3://bucket/prefix.
func Open(url, dir string) (*Mirror, error) {
	b, err := open(url)
	if err != nil {
		return nil, err
	}
	root, err := durable.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &Mirror{b: b, dir: dir, root: root, wake: make(chan struct{}, 1), done: make(chan struct{}), stop: stop,
		sent: map[string]version{}, copied: map[string][32]byte{}}
	go m.run(ctx)
	return m, nil
}

// Changed says that the run has changed. It does not wait.
func (m *Mirror) Changed() {
	if m == nil {
		return
	}
	select {
	case m.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// News returns a change that was not told before; nil: there is none.
func (m *Mirror) News() *News {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.news
	m.news = nil
	return n
}

// Close waits for the last changes to be copied, but not longer than a while. It returns what is missing.
func (m *Mirror) Close(wait time.Duration) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	m.closing = true
	m.mu.Unlock()
	m.Changed()
	timer := time.AfterFunc(wait, m.stop)
	<-m.done
	timer.Stop()
	m.stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		return nil
	}
	var missing []string
	infos, _ := checkpoint.List(durable.OS, rundir.CheckpointsOf(m.dir))
	for _, info := range infos {
		if name := filepath.Base(info.Path); info.Err == nil && m.copied[name] == [32]byte{} {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		missing = []string{"the newest log"}
	}
	return fmt.Errorf("%s lacks %s: %w", m.b, strings.Join(missing, ", "), m.err)
}

// run copies until Close.
func (m *Mirror) run(ctx context.Context) {
	defer close(m.done)
	defer m.root.Close()
	retry := time.NewTimer(0)
	retry.Stop()
	for {
		select {
		case <-m.wake:
		case <-retry.C:
		case <-ctx.Done():
			return
		}
		m.mu.Lock()
		closing := m.closing
		m.mu.Unlock()
		err := m.update(ctx)
		if closing && errors.Is(err, fs.ErrNotExist) { // pruned in the middle
			err = m.update(ctx)
		}
		m.note(err)
		if closing {
			return
		}
		if err != nil && !errors.Is(err, ErrOther) {
			retry.Reset(again)
		}
	}
}

// note remembers what came of a try.
func (m *Mirror) note(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if (err == nil) != (m.err == nil) {
		m.news = &News{err}
	}
	m.err = err
}
