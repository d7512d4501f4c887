package checkpoint

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/durable"
	"gimbal/internal/durable/crash"
)

// scenario is a directory with something in it, and a Save that is disturbed.
type scenario struct {
	name  string
	setup func(t *testing.T, fsys durable.FS)
	save  *Snapshot
	// acceptable after a crash: any of these must be the newest, and "" that there is none.
	before, after string
}

const dir = "run/checkpoints"

var scenarios = []scenario{
	{
		name:  "first",
		setup: func(t *testing.T, fsys durable.FS) {},
		save:  snapshot(10, "a"), before: "", after: "10a",
	},
	{
		name:  "next",
		setup: func(t *testing.T, fsys durable.FS) { save(t, fsys, snapshot(10, "a")) },
		save:  snapshot(20, "b"), before: "10a", after: "20b",
	},
	{
		name:  "same step, same content",
		setup: func(t *testing.T, fsys durable.FS) { save(t, fsys, snapshot(10, "a")) },
		save:  snapshot(10, "a"), before: "10a", after: "10a",
	},
	{
		name:  "same step, other content",
		setup: func(t *testing.T, fsys durable.FS) { save(t, fsys, snapshot(10, "a")) },
		save:  snapshot(10, "b"), before: "10a", after: "10b",
	},
	{
		name: "same step, damaged, with an older one",
		setup: func(t *testing.T, fsys durable.FS) {
			save(t, fsys, snapshot(10, "a"))
			save(t, fsys, snapshot(20, "a"))
			damage(t, fsys, dir+"/step-20/state.json")
		},
		save: snapshot(20, "b"), before: "10a", after: "20b",
	},
	{
		// What a replacement that died between its two renames leaves.
		name: "same step, only set aside",
		setup: func(t *testing.T, fsys durable.FS) {
			save(t, fsys, snapshot(10, "a"))
			if err := fsys.Rename(dir+"/step-10", dir+"/step-10.old"); err != nil {
				t.Fatal(err)
			}
		},
		save: snapshot(10, "b"), before: "10a", after: "10b",
	},
	{
		name: "same step, in place and set aside",
		setup: func(t *testing.T, fsys durable.FS) {
			save(t, fsys, snapshot(10, "z"))
			if err := fsys.Rename(dir+"/step-10", dir+"/step-10.old"); err != nil {
				t.Fatal(err)
			}
			saveOver(t, fsys, snapshot(10, "a"))
		},
		save: snapshot(10, "b"), before: "10a", after: "10b",
	},
	{
		name: "same step, damaged, and an older version set aside",
		setup: func(t *testing.T, fsys durable.FS) {
			save(t, fsys, snapshot(10, "a"))
			if err := fsys.Rename(dir+"/step-10", dir+"/step-10.old"); err != nil {
				t.Fatal(err)
			}
			saveOver(t, fsys, snapshot(10, "z"))
			damage(t, fsys, dir+"/step-10/model.safetensors")
		},
		save: snapshot(10, "b"), before: "10a", after: "10b",
	},
}

// saveOver puts a snapshot at its place without touching what is set aside.
func saveOver(t *testing.T, fsys durable.FS, s *Snapshot) {
	t.Helper()
	if _, err := s.write(fsys, filepath.Join(dir, StepName(s.Step))); err != nil {
		t.Fatal(err)
	}
}

// prepared returns a file system with the scenario set up and all of it durable.
func (sc *scenario) prepared(t *testing.T) *crash.FS {
	t.Helper()
	fsys := crash.New()
	sc.setup(t, fsys)
	return fsys.Clone(100, 0)
}

// newest describes the newest checkpoint as in scenario, after reading it whole.
func newest(t *testing.T, fsys durable.FS) string {
	t.Helper()
	path, _, err := Newest(fsys, dir)
	if errors.Is(err, ErrNone) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return describe(t, fsys, path)
}

// TestSaveCrash stops Save after each of its operations, in each scenario, loses power with none, half and all of
// the unsynced changes kept, and demands the old or the new checkpoint, whole. Then it saves again.
func TestSaveCrash(t *testing.T) {
	points, states := 0, 0
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			fsys := sc.prepared(t)
			save(t, fsys, sc.save)
			if got := newest(t, fsys); got != sc.after {
				t.Fatalf("undisturbed: %q, want %q", got, sc.after)
			}
			fsys = sc.prepared(t)
			if _, err := Save(fsys, dir, sc.save); err != nil {
				t.Fatal(err)
			}
			ops := fsys.Ops()
			if ops < 30 {
				t.Fatalf("only %d operations were seen", ops)
			}
			for k := range ops + 1 {
				fsys := sc.prepared(t)
				fsys.StopAt(k)
				_, err := Save(fsys, dir, sc.save)
				if (err == nil) != (k == ops) {
					t.Fatalf("stopped at %d of %d: error %v", k, ops, err)
				}
				points++
				for _, c := range []struct{ percent, seeds int }{{0, 1}, {50, 4}, {100, 1}} {
					for seed := range c.seeds {
						states++
						after := fsys.Clone(c.percent, uint64(k*10+seed))
						got := newest(t, after)
						if got != sc.before && got != sc.after || k == ops && got != sc.after {
							t.Fatalf("stopped at %d of %d, %d %% kept, seed %d: %q, want %q or %q\n%s",
								k, ops, c.percent, k*10+seed, got, sc.before, sc.after, strings.Join(fsys.Trace(), "\n"))
						}
						if seed == 0 {
							save(t, after, sc.save)
							checkClean(t, after, sc.after)
						}
					}
				}
			}
		})
	}
	t.Logf("%d crash points, %d states after a power loss", points, states)
}

// checkClean demands that the newest is want and that nothing unfinished or set aside lies about.
func checkClean(t *testing.T, fsys durable.FS, want string) {
	t.Helper()
	if got := newest(t, fsys); got != want {
		t.Fatalf("the newest is %q, want %q", got, want)
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := parseName(e.Name()); !ok || strings.HasSuffix(e.Name(), oldSuffix) {
			t.Fatalf("left over: %s", e.Name())
		}
	}
}

// TestSaveError makes each operation of Save fail in turn: Save must say so, what was there must stay, and the
// next Save must succeed and clean up.
func TestSaveError(t *testing.T) {
	points := 0
	for _, cause := range []error{durable.ErrNoSpace, errors.New("input/output error")} {
		for _, sc := range scenarios {
			if errors.Is(cause, durable.ErrNoSpace) && sc.name != "next" {
				continue
			}
			t.Run(fmt.Sprint(sc.name, ", ", cause), func(t *testing.T) {
				for k := 1; ; k++ {
					fsys := sc.prepared(t)
					fsys.FailAt(k, cause)
					_, err := Save(fsys, dir, sc.save)
					if fsys.Ops() < k {
						if err != nil {
							t.Fatal(err)
						}
						break
					}
					points++
					// Replacing a damaged checkpoint may do without closing that one.
					done := err == nil && strings.Contains(sc.name, "damaged")
					if !done && !errors.Is(err, cause) {
						t.Fatalf("operation %d fails: error %v\n%s", k, err, strings.Join(fsys.Trace(), "\n"))
					}
					// Also when power is lost right after the error.
					for _, fsys := range []*crash.FS{fsys, fsys.Clone(0, 0), fsys.Clone(50, uint64(k)), fsys.Clone(100, 0)} {
						if got := newest(t, fsys); (got != sc.before || done) && got != sc.after {
							t.Fatalf("operation %d fails: %q, want %q or %q\n%s", k, got, sc.before, sc.after,
								strings.Join(fsys.Trace(), "\n"))
						}
						save(t, fsys, sc.save)
						checkClean(t, fsys, sc.after)
					}
				}
			})
		}
	}
	t.Logf("%d operations made to fail", points)
}

// TestPruneCrash stops Prune and makes it fail at each operation: what it must keep must stay whole.
func TestPruneCrash(t *testing.T) {
	prepare := func() *crash.FS {
		fsys := crash.New()
		for step := int64(10); step <= 50; step += 10 {
			save(t, fsys, snapshot(step, "a"))
		}
		if err := SetMark(fsys, dir, "best-loss", 20); err != nil {
			t.Fatal(err)
		}
		return fsys.Clone(100, 0)
	}
	fsys := prepare()
	if _, err := Prune(fsys, dir, 2, nil); err != nil {
		t.Fatal(err)
	}
	ops := fsys.Ops()
	check := func(fsys *crash.FS, what string) {
		t.Helper()
		for _, step := range []int64{20, 40, 50} {
			describe(t, fsys, filepath.Join(dir, StepName(step)))
		}
		infos, err := List(fsys, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range infos {
			if info.Err != nil {
				t.Fatalf("%s: torn: %v", what, info.Err)
			}
		}
		if _, err := Prune(fsys, dir, 2, nil); err != nil {
			t.Fatal(err)
		}
		if got := names(t, fsys); got != "marks.json step-20 step-40 step-50" {
			t.Fatalf("%s: after another Prune: %s", what, got)
		}
	}
	for k := range ops {
		fsys := prepare()
		fsys.StopAt(k)
		if _, err := Prune(fsys, dir, 2, nil); err == nil {
			t.Fatalf("stopped at %d: no error", k)
		}
		for _, percent := range []int{0, 50, 100} {
			check(fsys.Clone(percent, uint64(k)), fmt.Sprintf("stopped at %d, %d %% kept", k, percent))
		}
		fsys = prepare()
		eio := errors.New("input/output error")
		fsys.FailAt(k+1, eio)
		_, err := Prune(fsys, dir, 2, nil)
		if err == nil && !strings.Contains(strings.Join(fsys.Trace(), "\n"), "(fails)") {
			t.Fatalf("operation %d did not fail", k+1)
		}
		check(fsys.Clone(100, 0), fmt.Sprintf("operation %d fails with %v", k+1, err))
	}
	t.Logf("%d crash points", ops)
}

// careless is a file system whose syncs do nothing.
type careless struct {
	durable.FS
	files, dirs bool
}

type carelessFile struct{ durable.File }

func (carelessFile) Sync() error { return nil }

func (c careless) Create(name string) (durable.File, error) {
	f, err := c.FS.Create(name)
	if err == nil && c.files {
		f = carelessFile{f}
	}
	return f, err
}

func (c careless) SyncDir(name string) error {
	if c.dirs {
		return nil
	}
	return c.FS.SyncDir(name)
}

// TestCarelessIsCaught plants the fault that TestSaveCrash is there to find: without the syncs a Save that returned
// without error must be lost.
func TestCarelessIsCaught(t *testing.T) {
	for _, c := range []careless{{files: true}, {dirs: true}} {
		sc := scenarios[1]
		fsys := sc.prepared(t)
		c.FS = fsys
		if _, err := Save(c, dir, sc.save); err != nil {
			t.Fatal(err)
		}
		if got := newest(t, fsys.Clone(100, 0)); got != sc.after {
			t.Errorf("without a power loss: %q", got)
		}
		if got := newest(t, fsys.Clone(0, 0)); got != sc.before {
			t.Errorf("files unsynced %v, directories unsynced %v: %q survives a power loss", c.files, c.dirs, got)
		}
	}
}
