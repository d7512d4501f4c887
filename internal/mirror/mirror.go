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
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
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

// update makes the copy what the run is now.
func (m *Mirror) update(ctx context.Context) error {
	there, err := m.b.list(ctx)
	if err == nil && !m.ours {
		err = m.identify(ctx, there)
	}
	if err != nil {
		return err
	}
	infos, err := checkpoint.List(durable.OS, rundir.CheckpointsOf(m.dir))
	if err != nil {
		return err
	}
	if err := m.files(ctx, "."); err != nil { // first: no checkpoint may be there without its log and configuration
		return err
	}
	kept := map[string]bool{}
	for _, info := range slices.Backward(infos) { // oldest first: the newest is bound to the newest log
		name := filepath.Base(info.Path)
		if kept[name] = true; info.Err != nil || strings.HasSuffix(name, ".old") {
			continue
		}
		if err := m.checkpoint(ctx, there, name); err != nil {
			if _, gone := m.root.Stat(path.Join(rundir.Checkpoints, name)); errors.Is(gone, fs.ErrNotExist) {
				m.Changed() // it was pruned: look again
				delete(kept, name)
				continue
			}
			return err
		}
	}
	for _, below := range []string{rundir.Samples, rundir.Refused, rundir.Checkpoints} {
		if err := m.files(ctx, below); err != nil {
			return err
		}
	}
	return m.prune(ctx, there, kept)
}

// identify refuses what is not a copy of this run: its log begins otherwise.
func (m *Mirror) identify(ctx context.Context, there map[string]int64) error {
	if len(there) > 0 {
		first := func(r io.Reader) []byte {
			head, _ := io.ReadAll(io.LimitReader(r, 1<<16))
			line, _, _ := bytes.Cut(head, []byte{'\n'})
			return line
		}
		remote, err := m.b.get(ctx, rundir.LogFile)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s: %w", m.b, ErrOther)
		case err != nil:
			return err
		}
		defer remote.Close()
		local, err := m.root.Open(rundir.LogFile)
		if err != nil {
			return err
		}
		defer local.Close()
		if !bytes.Equal(first(remote), first(local)) {
			return fmt.Errorf("%s: %w", m.b, ErrOther)
		}
	}
	m.ours = true
	return nil
}

// files copies the regular files of a directory of the run that have changed.
func (m *Mirror) files(ctx context.Context, below string) error {
	entries, err := fs.ReadDir(m.root.FS(), below)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || !checkpoint.PlainName(name) || name == rundir.LockFile {
			continue
		}
		info, err := e.Info()
		key := path.Join(below, name)
		now := version{}
		if err == nil {
			now = version{info.Size(), info.ModTime()}
			if m.sent[key] == now {
				continue
			}
			_, err = m.put(ctx, key, now.size)
		}
		if errors.Is(err, fs.ErrNotExist) { // replaced or removed in between: look again
			m.Changed()
			continue
		}
		if err != nil {
			return err
		}
		m.sent[key] = now
	}
	return nil
}

// checkpoint copies a checkpoint that is not there yet, the manifest last.
func (m *Mirror) checkpoint(ctx context.Context, there map[string]int64, name string) error {
	at := path.Join(rundir.Checkpoints, name)
	last := path.Join(at, checkpoint.ManifestFile)
	manifest, err := m.root.ReadFile(last)
	if err != nil {
		return err
	}
	hash := sha256.Sum256(manifest)
	if _, ok := there[last]; ok {
		if m.copied[name] == hash {
			return nil
		}
		if same, err := m.b.holds(ctx, last, hash); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		} else if same {
			m.copied[name] = hash
			return nil
		}
		if err := m.b.remove(ctx, last); err != nil { // other content: it counts no more
			return err
		}
	}
	delete(m.copied, name)
	entries, err := fs.ReadDir(m.root.FS(), at)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == checkpoint.ManifestFile || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err == nil {
			_, err = m.put(ctx, path.Join(at, e.Name()), info.Size())
		}
		if err != nil {
			return err
		}
	}
	got, err := m.put(ctx, last, int64(len(manifest)))
	if err == nil && got != hash {
		err = fmt.Errorf("%s changed while it was copied: %w", at, fs.ErrNotExist)
	}
	if err == nil {
		m.copied[name] = hash
	}
	return err
}

// put copies the first bytes of a file of the run.
func (m *Mirror) put(ctx context.Context, name string, size int64) (hash [32]byte, err error) {
	f, err := m.root.Open(name)
	if err != nil {
		return hash, err
	}
	defer f.Close()
	return m.b.put(ctx, name, f, size)
}

// prune removes checkpoints that the run does not keep, and parts of some, the manifest first.
func (m *Mirror) prune(ctx context.Context, there map[string]int64, kept map[string]bool) error {
	for _, key := range slices.SortedFunc(maps.Keys(there), func(a, b string) int {
		if am, bm := path.Base(a) == checkpoint.ManifestFile, path.Base(b) == checkpoint.ManifestFile; am != bm {
			return map[bool]int{true: -1, false: 1}[am]
		}
		return strings.Compare(a, b)
	}) {
		dir := path.Dir(key)
		if path.Dir(dir) != rundir.Checkpoints || kept[path.Base(dir)] {
			continue
		}
		if err := m.b.remove(ctx, key); err != nil {
			return err
		}
		delete(m.copied, path.Base(dir))
	}
	return nil
}
