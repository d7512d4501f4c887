// Package crash is a file system in memory for tests. It knows what a power loss would take away.
//
// A test runs its protocol on New(), with StopAt(k) to end the process at the k-th operation or FailAt(k, err) to make
// that one fail, for every k up to Ops() of an undisturbed run. Then Clone gives the disk as it may be after the
// machine died, and the test opens what it finds there.
//
// The model is a journaling file system at its least helpful. Content is durable after File.Sync, a name after SyncDir
// of its directory, and neither implies the other. Every unsynced change of a name survives or is lost independently,
// except that a rename is one change. Of unsynced content any 512-byte sector may survive without its neighbours. After
// a failed Sync the content is lost although later Syncs report success, as on Linux.
//
// It does not model permissions, links, times, or the sharing rules of Windows. Only tests may import it.
package crash

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"

	"gimbal/internal/durable"
)

// ErrStopped is the error of every operation after the last one that StopAt allows: the process has ended.
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

// change is one atomic change of names.
type change []binding

// binding is a name in a directory and the node that it gets; nil: the name is removed.
type binding struct {
	dir  *node
	name string
	to   *node
}

// apply makes the change in the names of its directory.
func (b binding) apply(names map[string]*node) {
	if b.to == nil {
		delete(names, b.name)
	} else {
		names[b.name] = b.to
	}
}

var _ durable.FS = (*FS)(nil)

// New returns an empty file system. Every path starts at its root; "." is the root too.
func New() *FS { return &FS{root: newDir(), stopAt: -1} }

func newDir() *node { return &node{dir: true, names: map[string]*node{}, disk: map[string]*node{}} }

// FailAt makes the k-th operation from now (the first is 1) fail with err, once. A failing Write keeps half of its
// bytes. k = 0 means none.
func (f *FS) FailAt(k int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt, f.fail = f.ops+k, err
}

// StopAt lets k more operations happen. All later ones return ErrStopped and do nothing.
func (f *FS) StopAt(k int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopAt = f.ops + k
}

// Ops returns the number of operations so far: all of FS and File, reads included. RemoveAll counts once for each thing
// it removes.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Trace returns the operations so far that change the disk, one line each. Consecutive writes to one file are one line.
func (f *FS) Trace() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.trace)
}

// op counts an operation and returns the error with which it must fail. The caller holds the lock.
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
// probability in percent (0: none, 100: all). The same seed gives the same result. Everything that survived is durable
// there, and nothing is set to fail.
func (f *FS) Clone(unsyncedPercent int, seed uint64) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	rnd := rand.New(rand.NewPCG(seed, 0xc4a5))
	keep := func() bool { return rnd.IntN(100) < unsyncedPercent }
	disk := map[*node]map[string]*node{} // directories that pending changes alter
	at := func(d *node) map[string]*node {
		if disk[d] == nil {
			disk[d] = maps.Clone(d.disk)
		}
		return disk[d]
	}
	for _, c := range f.pending {
		if keep() {
			for _, b := range c {
				b.apply(at(b.dir))
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
			copies[n] = &node{data: data, synced: slices.Clone(data)}
			return copies[n]
		}
		c := newDir()
		copies[n] = c
		names := at(n)
		for _, name := range slices.Sorted(maps.Keys(names)) { // in order: the seed decides, not the map
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
