package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"gimbal/internal/durable"
	"gimbal/internal/durable/crash"
)

func TestWriteAndRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := durable.Mkdir(durable.OS, dir); err != nil {
		t.Fatal(err)
	}
	if err := durable.Mkdir(durable.OS, dir); err != nil {
		t.Fatalf("again: %v", err)
	}
	name := filepath.Join(dir, "file")
	for _, want := range []string{"first", "", "the third, longer one"} {
		if err := durable.WriteFile(durable.OS, name, []byte(want)); err != nil {
			t.Fatal(err)
		}
		got, err := durable.ReadFile(durable.OS, name, 100)
		if err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("directory holds %v, %v; want the one file", entries, err)
	}
	if _, err := durable.ReadFile(durable.OS, name, 5); err == nil || !strings.Contains(err.Error(), "at most 5") {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := durable.ReadFile(durable.OS, dir, 5); err == nil {
		t.Error("reading a directory succeeds")
	}
	if _, err := durable.ReadFile(durable.OS, name+"x", 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := durable.Mkdir(durable.OS, filepath.Join(name, "below")); err == nil {
		t.Error("a directory below a file was made")
	}
}

func TestWriteWithKeepsOldOnError(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := durable.WriteFile(durable.OS, name, []byte("old")); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	err := durable.WriteWith(durable.OS, name, func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "old" {
		t.Fatalf("got %q, %v", got, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(name)); err != nil || len(entries) != 1 {
		t.Fatalf("left behind: %v, %v", entries, err)
	}
}

// TestWriteFileCrash stops WriteFile after each of its operations and loses power.
func TestWriteFileCrash(t *testing.T) {
	old, next := bytes.Repeat([]byte("old"), 700), bytes.Repeat([]byte("next"), 900)
	prepare := func() *crash.FS {
		fsys := crash.New()
		if err := errors.Join(durable.Mkdir(fsys, "dir"), durable.WriteFile(fsys, "dir/file", old)); err != nil {
			t.Fatal(err)
		}
		return fsys.Clone(0, 0)
	}
	fsys := prepare()
	if err := durable.WriteFile(fsys, "dir/file", next); err != nil {
		t.Fatal(err)
	}
	ops := fsys.Ops()
	if ops < 6 {
		t.Fatalf("only %d operations were seen", ops)
	}
	for k := range ops + 1 {
		fsys := prepare()
		fsys.StopAt(k)
		werr := durable.WriteFile(fsys, "dir/file", next)
		if (werr == nil) != (k == ops) {
			t.Fatalf("stopped at %d of %d: error %v", k, ops, werr)
		}
		for _, percent := range []int{0, 50, 100} {
			for seed := range uint64(10) {
				after := fsys.Clone(percent, seed)
				got, err := durable.ReadFile(after, "dir/file", 1<<20)
				if err != nil || !bytes.Equal(got, old) && !bytes.Equal(got, next) || werr == nil && !bytes.Equal(got, next) {
					t.Fatalf("stopped at %d, %d %% kept, seed %d: %d bytes, %v", k, percent, seed, len(got), err)
				}
				if err := durable.Sweep(after, "dir"); err != nil {
					t.Fatal(err)
				}
				if entries, err := after.ReadDir("dir"); err != nil || len(entries) != 1 {
					t.Fatalf("stopped at %d: left after Sweep: %v, %v", k, entries, err)
				}
			}
		}
	}
	for k := 1; k <= ops; k++ {
		fsys := prepare()
		fsys.FailAt(k, durable.ErrNoSpace)
		if err := durable.WriteFile(fsys, "dir/file", next); !errors.Is(err, durable.ErrNoSpace) {
			t.Fatalf("failed at %d: error %v", k, err)
		}
		got, err := durable.ReadFile(fsys, "dir/file", 1<<20)
		if err != nil || !bytes.Equal(got, old) && k < ops {
			t.Fatalf("failed at %d: %d bytes, %v", k, len(got), err)
		}
		if entries, err := fsys.ReadDir("dir"); err != nil || len(entries) != 1 {
			t.Fatalf("failed at %d: left behind: %v, %v", k, entries, err)
		}
	}
	t.Logf("%d operations, %d states after a crash", ops, (ops+1)*3*10)
}

func TestNoSpace(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("/dev/full is a device of Linux")
	}
	f, err := durable.OS.Append("/dev/full")
	if err != nil {
		t.Skipf("no /dev/full here: %v", err)
	}
	_, err = f.Write([]byte("x"))
	if !errors.Is(err, durable.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) ||
		!strings.Contains(err.Error(), "free some space") {
		t.Errorf("writing to a full disk: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := durable.OS.Open(filepath.Join(t.TempDir(), "none")); errors.Is(err, durable.ErrNoSpace) {
		t.Errorf("a missing file is a full disk: %v", err)
	}
}

func TestLock(t *testing.T) {
	if name := os.Getenv("GIMBAL_TEST_LOCK"); name != "" { // the child below
		l, err := durable.Lock(name)
		fmt.Printf("%v\n", err)
		if err == nil {
			os.Exit(0) // without Unlock, as a killed process
		}
		_ = l
		return
	}
	name := filepath.Join(t.TempDir(), "lock")
	child := func() string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLock$")
		cmd.Env = append(os.Environ(), "GIMBAL_TEST_LOCK="+name)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if out := child(); !strings.HasPrefix(out, "<nil>") {
		t.Fatalf("child cannot lock: %s", out)
	}
	l, err := durable.Lock(name) // the child is dead, its file is there
	if err != nil {
		t.Fatal(err)
	}
	_, err = durable.Lock(name)
	var locked *durable.LockedError
	host, herr := os.Hostname()
	if !errors.Is(err, durable.ErrLocked) || !errors.As(err, &locked) || herr != nil || locked.PID != os.Getpid() ||
		locked.Host != host {
		t.Fatalf("second lock: %v", err)
	}
	if out := child(); !strings.Contains(out, fmt.Sprintf("held by process %d on %s", os.Getpid(), host)) {
		t.Fatalf("child is told: %s", out)
	}
	if err := errors.Join(l.Unlock(), l.Unlock()); err != nil {
		t.Fatal(err)
	}
	if out := child(); !strings.HasPrefix(out, "<nil>") {
		t.Fatalf("child cannot lock after Unlock: %s", out)
	}
	if _, err := durable.Lock(filepath.Join(t.TempDir(), "none", "lock")); err == nil ||
		errors.Is(err, durable.ErrLocked) {
		t.Errorf("lock in a missing directory: %v", err)
	}
}

func TestMap(t *testing.T) {
	dir := t.TempDir()
	want := bytes.Repeat([]byte("gimbal"), 10_000)
	name := filepath.Join(dir, "file")
	if err := durable.WriteFile(durable.OS, name, want); err != nil {
		t.Fatal(err)
	}
	m, err := durable.Map(name)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" { // there a mapped file cannot be replaced
		if err := durable.WriteFile(durable.OS, name, []byte("new")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(m.Bytes(), want) {
		t.Error("the mapping differs from the file")
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil || m.Bytes() != nil {
		t.Errorf("close: %v", err)
	}
	empty := filepath.Join(dir, "empty")
	if err := durable.WriteFile(durable.OS, empty, nil); err != nil {
		t.Fatal(err)
	}
	m, err = durable.Map(empty)
	if err != nil || len(m.Bytes()) != 0 || m.Close() != nil {
		t.Errorf("empty file: %v", err)
	}
	for _, bad := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := durable.Map(bad); err == nil {
			t.Errorf("%s was mapped", bad)
		}
	}
}

func TestFreeSpace(t *testing.T) {
	n, err := durable.FreeSpace(t.TempDir())
	if err != nil || n == 0 {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := durable.FreeSpace(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
}
