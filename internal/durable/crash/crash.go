// Package crash is a file system in memory for tests: it knows what a power loss would take away.
//
// A test runs its protocol on New(), with StopAt(k) to end the process at the k-th operation or FailAt(k,
// err) to make that one fail, for every k up to Ops() of an undisturbed run; then Clone gives the disk as it may
// be after the machine died, and the test opens what it finds there.
//
// The model is a journaling file system at its least helpful. Content is durable after File.Sync, a name
// after SyncDir of its directory, and neither implies the other. Every unsynced change of a name survives or is
// lost on its own, except that a rename is one change. Of unsynced content any 512-byte sector may survive without
// its neighbours. After a failed Sync the content is lost although later Syncs report success, as on Linux.
//
// It does not model permissions, links, times, or the sharing rules of Windows. Only tests may import it.
package crash

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"gimbal/internal/durable"
)

// ErrStopped is the error of every operation after the one given to StopAt: the process is no more.
var ErrStopped = errors.New("crash: stopped")

const sector = 512

// FS is a durable.FS in memory. Safe for concurrent use.
type FS struct {
	mu      sync.Mutex
	root    *node
	pending []change // changes of names since the last SyncDir of their directory, oldest first
	ops     int
	failAt  int
	fail    error
	stopAt  int // -1: never
	trace   []string
}

// node is a file or a directory. What is visible and what is durable differ until a sync.
type node struct {
	dir          bool
	data, synced []byte           // of a file
	lost         bool             // a Sync failed: later ones make nothing durable
	names, disk  map[string]*node // of a directory
}

// change is one atomic change of names; a nil node means the name is gone.
type change []binding
type binding struct {
	dir  *node
	name string
	to   *node
}

var _ durable.FS = (*FS)(nil)

// New returns an empty file system. Every path is taken from its root; "." is the root too.
func New() *FS { return &FS{root: newDir(), stopAt: -1} }

func newDir() *node { return &node{dir: true, names: map[string]*node{}, disk: map[string]*node{}} }

// FailAt makes the k-th operation from now (the first is 1) fail with err, once. A failing Write keeps half of
// its bytes. k = 0 means none.
func (f *FS) FailAt(k int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt, f.fail = f.ops+k, err
}

// StopAt lets k more operations happen; all later ones return ErrStopped and do nothing.
func (f *FS) StopAt(k int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopAt = f.ops + k
}

// Ops returns the number of operations so far: all of FS and File, reads included. RemoveAll counts once for
// each thing it removes.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Trace returns the operations so far that change the disk, one line each; writes that follow each other to one
// file are one line.
func (f *FS) Trace() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.trace)
}

// op counts an operation and says whether it must fail.
func (f *FS) op(change bool, format string, args ...any) error {
	if f.stopAt >= 0 && f.ops >= f.stopAt {
		return ErrStopped
	}
	f.ops++
	line := filepath.ToSlash(fmt.Sprintf(format, args...))
	if f.ops == f.failAt && f.fail != nil {
		f.trace = append(f.trace, line+" (fails)")
		return fmt.Errorf("%s: %w", line, f.fail)
	}
	if change && (len(f.trace) == 0 || f.trace[len(f.trace)-1] != line) {
		f.trace = append(f.trace, line)
	}
	return nil
}

// Clone returns a file system as it may be after a power loss now: each unsynced change survives with the given
// probability in percent (0: none, 100: all). Same seed, same result. All that survived is durable there, and
// nothing is set to fail.
func (f *FS) Clone(unsyncedPercent int, seed uint64) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	rnd := rand.New(rand.NewPCG(seed, 0xc4a5))
	keep := func() bool { return rnd.IntN(100) < unsyncedPercent }
	disk := map[*node]map[string]*node{} // directories that pending changes alter
	at := func(d *node) map[string]*node {
		if disk[d] == nil {
			disk[d] = make(map[string]*node, len(d.disk))
			for name, n := range d.disk {
				disk[d][name] = n
			}
		}
		return disk[d]
	}
	for _, c := range f.pending {
		if !keep() {
			continue
		}
		for _, b := range c {
			if b.to == nil {
				delete(at(b.dir), b.name)
			} else {
				at(b.dir)[b.name] = b.to
			}
		}
	}
	copies := map[*node]*node{}
	var copyNode func(n *node) *node
	copyNode = func(n *node) *node {
		if c := copies[n]; c != nil {
			return c
		}
		if !n.dir {
			data := survive(n, keep)
			c := &node{data: data, synced: slices.Clone(data)}
			copies[n] = c
			return c
		}
		c := newDir()
		copies[n] = c
		names := at(n)
		for _, name := range sortedKeys(names) { // in order: the seed decides, not the map
			child := copyNode(names[name])
			c.names[name], c.disk[name] = child, child
		}
		return c
	}
	return &FS{root: copyNode(f.root), stopAt: -1}
}

// survive returns the content of a file after a power loss.
func survive(n *node, keep func() bool) []byte {
	if slices.Equal(n.data, n.synced) {
		return slices.Clone(n.data)
	}
	size := len(n.synced)
	if keep() {
		size = len(n.data)
	}
	data := make([]byte, size) // sectors that were never written read as zeros
	copy(data, n.synced)
	for lo := 0; lo < size; lo += sector {
		hi := min(lo+sector, size)
		if keep() && lo < len(n.data) {
			clear(data[lo:hi])
			copy(data[lo:hi], n.data[lo:])
		}
	}
	return data
}

func sortedKeys(m map[string]*node) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// split cuts a path into its parts from the root.
func split(name string) []string {
	name = filepath.ToSlash(filepath.Clean(name))
	name = strings.Trim(strings.TrimPrefix(name, filepath.ToSlash(filepath.VolumeName(name))), "/")
	if name == "." || name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

func notExist(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// find returns the node of a path, nil when there is none.
func (f *FS) find(name string) *node {
	n := f.root
	for _, part := range split(name) {
		if n == nil || !n.dir {
			return nil
		}
		n = n.names[part]
	}
	return n
}

// parent returns the directory that holds name, and the last part of the path.
func (f *FS) parent(op, name string) (*node, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	d := f.find(strings.Join(parts[:len(parts)-1], "/"))
	if d == nil || !d.dir {
		return nil, "", notExist(op, name)
	}
	return d, parts[len(parts)-1], nil
}

// bind changes names, visibly now and durably later.
func (f *FS) bind(c ...binding) {
	for _, b := range c {
		if b.to == nil {
			delete(b.dir.names, b.name)
		} else {
			b.dir.names[b.name] = b.to
		}
	}
	f.pending = append(f.pending, c)
}

func (f *FS) openFile(op, name string, create, truncate bool, flag int) (durable.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, base, err := f.parent(op, name)
	var n *node
	if err == nil {
		n = d.names[base]
	}
	// Opening to append to a file that exists changes nothing.
	if oerr := f.op(create && (n == nil || truncate), "%s %s", op, name); oerr != nil {
		return nil, oerr
	}
	switch {
	case err != nil:
		return nil, err
	case n == nil && !create:
		return nil, notExist(op, name)
	case n == nil:
		n = &node{}
		f.bind(binding{d, base, n})
	case n.dir && create:
		return nil, &fs.PathError{Op: op, Path: name, Err: errors.New("is a directory")}
	case truncate:
		n.data = nil
	}
	return &file{fs: f, n: n, name: name, flag: flag}, nil
}

// Open implements durable.FS.
func (f *FS) Open(name string) (durable.File, error) {
	return f.openFile("open", name, false, false, readOnly)
}

// Create implements durable.FS.
func (f *FS) Create(name string) (durable.File, error) {
	return f.openFile("create", name, true, true, 0)
}

// Append implements durable.FS.
func (f *FS) Append(name string) (durable.File, error) {
	return f.openFile("append", name, true, false, appends)
}

// Mkdir implements durable.FS.
func (f *FS) Mkdir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(true, "mkdir %s", name); err != nil {
		return err
	}
	n := f.root
	for _, part := range split(name) {
		next := n.names[part]
		if next == nil {
			next = newDir()
			f.bind(binding{n, part, next})
		} else if !next.dir {
			return &fs.PathError{Op: "mkdir", Path: name, Err: errors.New("not a directory")}
		}
		n = next
	}
	return nil
}

// Rename implements durable.FS.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(true, "rename %s %s", from, to); err != nil {
		return err
	}
	fd, fbase, err := f.parent("rename", from)
	if err != nil {
		return err
	}
	td, tbase, err := f.parent("rename", to)
	if err != nil {
		return err
	}
	n := fd.names[fbase]
	if n == nil {
		return notExist("rename", from)
	}
	if old := td.names[tbase]; old != nil && old != n && (old.dir || n.dir) {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	}
	f.bind(binding{fd, fbase, nil}, binding{td, tbase, n})
	return nil
}

// Remove implements durable.FS.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remove(name)
}

func (f *FS) remove(name string) error {
	if err := f.op(true, "remove %s", name); err != nil {
		return err
	}
	d, base, err := f.parent("remove", name)
	if err != nil {
		return err
	}
	n := d.names[base]
	if n == nil {
		return notExist("remove", name)
	}
	if n.dir && len(n.names) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: errors.New("directory not empty")}
	}
	f.bind(binding{d, base, nil})
	return nil
}

// RemoveAll implements durable.FS: one operation for each thing removed, leaves first.
func (f *FS) RemoveAll(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.find(name)
	if n == nil {
		return f.op(false, "removeall %s", name)
	}
	return f.removeAll(n, name)
}

func (f *FS) removeAll(n *node, name string) error {
	for _, child := range sortedKeys(n.names) {
		if err := f.removeAll(n.names[child], filepath.Join(name, child)); err != nil {
			return err
		}
	}
	return f.remove(name)
}

// ReadDir implements durable.FS.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(false, "readdir %s", name); err != nil {
		return nil, err
	}
	n := f.find(name)
	if n == nil {
		return nil, notExist("readdir", name)
	}
	if !n.dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	var list []fs.DirEntry
	for _, child := range sortedKeys(n.names) {
		list = append(list, fs.FileInfoToDirEntry(infoOf(n.names[child], child)))
	}
	return list, nil
}

// Stat implements durable.FS.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(false, "stat %s", name); err != nil {
		return nil, err
	}
	n := f.find(name)
	if n == nil {
		return nil, notExist("stat", name)
	}
	return infoOf(n, filepath.Base(name)), nil
}

// SyncDir implements durable.FS.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(true, "syncdir %s", name); err != nil {
		return err
	}
	d := f.find(name)
	if d == nil || !d.dir {
		return notExist("syncdir", name)
	}
	rest := f.pending[:0]
	for _, c := range f.pending {
		if !slices.ContainsFunc(c, func(b binding) bool { return b.dir == d }) {
			rest = append(rest, c)
			continue
		}
		for _, b := range c {
			if b.to == nil {
				delete(b.dir.disk, b.name)
			} else {
				b.dir.disk[b.name] = b.to
			}
		}
	}
	f.pending = rest
	return nil
}
