package runlog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"path/filepath"
	"reflect"
	"sync"

	"gimbal/internal/durable"
)

// Writer appends records to a log. Safe for concurrent use.
type Writer struct {
	mu   sync.Mutex
	f    durable.File
	path string
	torn bool      // the file does not end with a newline
	size counter   // bytes of the file
	hash hash.Hash // of them
	sums Chain

	syncing sync.Mutex
	syncErr error // of the first failed Sync
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// Prefix is how a log begins: all of it when a checkpoint was saved. A log only grows, so it begins like that for good.
type Prefix struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of these bytes, hexadecimal
}

// Check reads a log and returns an error if it does not begin with the prefix.
func (p Prefix) Check(r io.Reader) error {
	h := sha256.New()
	switch n, err := io.CopyN(h, r, p.Bytes); {
	case err == io.EOF:
		return fmt.Errorf("it has %d bytes, but %d when the checkpoint was saved", n, p.Bytes)
	case err != nil:
		return err
	case hex.EncodeToString(h.Sum(nil)) != p.SHA256:
		return fmt.Errorf("its first %d bytes are not those from before the checkpoint was saved", p.Bytes)
	}
	return nil
}

// OpenWriter opens a log for appending, or creates it. If a crash tore the last line, the first record begins with a
// newline, and the torn line stays. One process writes to a log at a time; the caller holds the lock of the run.
func OpenWriter(fsys durable.FS, path string) (*Writer, error) {
	f, err := fsys.Append(path)
	if err != nil {
		return nil, fmt.Errorf("runlog: open %s: %w", path, err)
	}
	w := &Writer{f: f, path: path, hash: sha256.New()}
	w.sums, err = eachLine(io.TeeReader(f, io.MultiWriter(w.hash, &w.size)), func(line []byte, _, last bool) {
		w.torn = last && len(line) > 0
	})
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("runlog: open %s: %w", path, errors.Join(err, f.Close()))
	}
	return w, nil
}

// Write appends one record (Step, Layers, Event, …, by value) as one line with one system call, so that a crash tears
// the last line at most. It fills in Kind. Panics if the value is not a record.
//
// It does not sync: what was written survives the end of the process, but a power loss takes what came after the last
// Sync. After an error, part of the line may be there. The next Write begins a new line, so going on is safe.
func (w *Writer) Write(record any) error {
	data, err := json.Marshal(withKind(record))
	if err != nil {
		return fmt.Errorf("runlog: write %s: %w", w.path, err)
	}
	if len(data)+sumLen > maxLine {
		return fmt.Errorf("runlog: write %s: a record of %d bytes is longer than %d", w.path, len(data), maxLine)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	line := make([]byte, 0, len(data)+1+sumLen)
	if w.torn {
		line = append(line, '\n')
	}
	line = append(line, data[:len(data)-1]...)
	line = fmt.Appendf(line, "%s%08x%s", sumKey, crc32.Update(w.sums.crc, castagnoli, line), sumEnd)
	n, err := w.f.Write(line)
	w.size += counter(n)
	w.hash.Write(line[:n])
	w.sums.crc = crc32.Update(w.sums.crc, castagnoli, line[:n])
	if n > 0 {
		w.torn = line[n-1] != '\n'
	}
	if err != nil {
		return fmt.Errorf("runlog: write %s: %w", w.path, err)
	}
	return nil
}

// withKind returns a record with its kind filled in.
func withKind(record any) any {
	for kind, t := range types {
		if t == reflect.TypeOf(record) {
			v := reflect.New(t).Elem()
			v.Set(reflect.ValueOf(record))
			v.FieldByName("Kind").SetString(kind)
			return v.Interface()
		}
	}
	panic("runlog: not a record")
}

// Sync makes all records so far durable, while others write. Call it before saving a checkpoint, so that the log never
// lacks steps that the checkpoint has. After one failure it fails always: the system may have dropped what it could not
// write, so a later success would prove nothing. Open the log again to continue.
func (w *Writer) Sync() error {
	w.syncing.Lock()
	defer w.syncing.Unlock()
	if w.syncErr == nil {
		if err := w.f.Sync(); err != nil {
			w.syncErr = fmt.Errorf("runlog: sync %s: %w", w.path, err)
		}
	}
	return w.syncErr
}

// Written is what the file holds now.
func (w *Writer) Written() Prefix {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Prefix{int64(w.size), hex.EncodeToString(w.hash.Sum(nil))}
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
