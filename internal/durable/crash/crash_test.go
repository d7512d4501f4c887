package crash_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/durable"
	"gimbal/internal/durable/crash"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, fsys durable.FS, name, text string, sync bool) {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	_, err = f.Write([]byte(text))
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

// tree describes a file system as text.
func tree(t *testing.T, fsys durable.FS, dir string) string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			out = append(out, e.Name()+"("+tree(t, fsys, name)+")")
			continue
		}
		f, err := fsys.Open(name)
		must(t, err)
		data, err := io.ReadAll(f)
		must(t, err, f.Close())
		out = append(out, e.Name()+"="+string(data))
	}
	return strings.Join(out, " ")
}

// TestClone checks what survives a power loss, step by step. Each row begins with the state of the row before.
func TestClone(t *testing.T) {
	fsys := crash.New()
	for _, row := range []struct {
		what      string
		do        func()
		none, all string
	}{
		{"mkdir", func() { must(t, fsys.Mkdir("d")) }, "", "d()"},
		{"sync root", func() { must(t, fsys.SyncDir(".")) }, "d()", "d()"},
		{"write", func() { write(t, fsys, "d/a", "one", false) }, "d()", "d(a=one)"},
		{"sync names only", func() { must(t, fsys.SyncDir("d")) }, "d(a=)", "d(a=one)"},
		{"write and sync", func() { write(t, fsys, "d/a", "two", true) }, "d(a=two)", "d(a=two)"},
		{"overwrite", func() { write(t, fsys, "d/a", "three", false) }, "d(a=two)", "d(a=three)"},
		{"rename", func() { must(t, fsys.Rename("d/a", "d/b")) }, "d(a=two)", "d(b=three)"},
		{"sync rename", func() { must(t, fsys.SyncDir("d")) }, "d(b=two)", "d(b=three)"},
		{"remove", func() { must(t, fsys.Remove("d/b")) }, "d(b=two)", "d()"},
		{"sync remove", func() { must(t, fsys.SyncDir("d")) }, "d()", "d()"},
		{"remove all", func() { must(t, fsys.RemoveAll("d"), fsys.RemoveAll("d")) }, "d()", ""},
	} {
		row.do()
		if got := tree(t, fsys.Clone(0, 1), "."); got != row.none {
			t.Errorf("%s: with nothing unsynced: %q, want %q", row.what, got, row.none)
		}
		if got := tree(t, fsys.Clone(100, 1), "."); got != row.all {
			t.Errorf("%s: with everything: %q, want %q", row.what, got, row.all)
		}
	}
}

func TestCloneTearsAndRepeats(t *testing.T) {
	fsys := crash.New()
	write(t, fsys, "a", strings.Repeat("-", 4096), true)
	must(t, fsys.SyncDir("."))
	f, err := fsys.Open("a")
	must(t, err)
	must(t, f.Close())
	write(t, fsys, "a", strings.Repeat("+", 4096), false)
	torn := 0
	for seed := range uint64(20) {
		got := tree(t, fsys.Clone(50, seed), ".")
		if again := tree(t, fsys.Clone(50, seed), "."); again != got {
			t.Fatalf("seed %d gives two states", seed)
		}
		if strings.Contains(got, "+") && strings.Contains(got, "-") {
			torn++
		}
	}
	if torn < 10 {
		t.Errorf("only %d of 20 states are torn", torn)
	}
}

func TestFailedSyncLosesContent(t *testing.T) {
	fsys := crash.New()
	f, err := fsys.Create("a")
	must(t, err, fsys.SyncDir("."))
	_, err = f.Write([]byte("data"))
	must(t, err)
	eio := errors.New("input/output error")
	fsys.FailAt(1, eio)
	if err := f.Sync(); !errors.Is(err, eio) {
		t.Fatalf("sync: %v", err)
	}
	must(t, f.Sync(), f.Close())
	if got := tree(t, fsys.Clone(0, 1), "."); got != "a=" {
		t.Errorf("after a failed sync and a good one: %q", got)
	}
}

func TestStopAndFail(t *testing.T) {
	fsys := crash.New()
	f, err := fsys.Create("a")
	must(t, err)
	full := fmt.Errorf("full: %w", durable.ErrNoSpace)
	fsys.FailAt(1, full)
	if n, err := f.Write([]byte("12345678")); n != 4 || !errors.Is(err, durable.ErrNoSpace) {
		t.Fatalf("failing write: %d, %v", n, err)
	}
	_, err = f.Write([]byte("x"))
	must(t, err)
	fsys.StopAt(1)
	must(t, fsys.Mkdir("d"))
	for what, err := range map[string]error{
		"mkdir": fsys.Mkdir("e"), "rename": fsys.Rename("a", "b"), "sync": f.Sync(), "remove": fsys.Remove("a"),
		"syncdir": fsys.SyncDir("."), "close": f.Close(),
	} {
		if !errors.Is(err, crash.ErrStopped) {
			t.Errorf("%s after the stop: %v", what, err)
		}
	}
	if got := tree(t, fsys.Clone(100, 1), "."); got != "a=1234x d()" {
		t.Errorf("after the stop: %q", got)
	}
}

// TestLikeOS runs the same operations here and on the real file system: each must succeed in both or fail alike.
func TestLikeOS(t *testing.T) {
	type result struct {
		what string
		err  error
	}
	run := func(fsys durable.FS, root string) (results []result) {
		at := func(name string) string { return filepath.Join(root, name) }
		note := func(what string, err error) { results = append(results, result{what, err}) }
		note("mkdir", fsys.Mkdir(at("d/e")))
		note("mkdir again", fsys.Mkdir(at("d/e")))
		f, err := fsys.Append(at("d/f"))
		note("append", err)
		_, err = f.Write([]byte("12"))
		note("write", err)
		_, err = f.Write([]byte("34"))
		note("write", err)
		b := make([]byte, 3)
		n, err := f.ReadAt(b, 2)
		note(fmt.Sprint("read at ", n, b), err)
		note("close", f.Close())
		note("close again", f.Close())
		f, err = fsys.Open(at("d/f"))
		note("open", err)
		_, err = f.Write([]byte("x"))
		note("write to what is read", err)
		info, err := f.Stat()
		note(fmt.Sprint("stat ", info.Name(), info.Size(), info.Mode().IsRegular()), err)
		note("close", f.Close())
		_, err = fsys.Open(at("none"))
		note("open missing", err)
		_, err = fsys.Create(at("none/f"))
		note("create below missing", err)
		_, err = fsys.Create(at("d"))
		note("create over directory", err)
		note("mkdir over file", fsys.Mkdir(at("d/f")))
		note("rename missing", fsys.Rename(at("none"), at("x")))
		note("rename directory over full one", fsys.Rename(at("d/e"), at("d")))
		note("remove full directory", fsys.Remove(at("d")))
		note("remove missing", fsys.Remove(at("none")))
		note("remove all missing", fsys.RemoveAll(at("none")))
		entries, err := fsys.ReadDir(at("d"))
		note(fmt.Sprint("readdir ", len(entries), entries[0].Name(), entries[0].IsDir(), entries[1].Name()), err)
		_, err = fsys.ReadDir(at("none"))
		note("readdir missing", err)
		_, err = fsys.ReadDir(at("d/f"))
		note("readdir of file", err)
		_, err = fsys.Stat(at("none"))
		note("stat missing", err)
		note("rename", fsys.Rename(at("d/f"), at("d/e/g")))
		note("syncdir", fsys.SyncDir(at("d")))
		note("syncdir missing", fsys.SyncDir(at("none")))
		note("remove all", fsys.RemoveAll(at("d")))
		_, err = fsys.Stat(at("d"))
		note("stat removed", err)
		return results
	}
	want, got := run(durable.OS, t.TempDir()), run(crash.New(), ".")
	for i, w := range want {
		g := got[i]
		if w.what != g.what || (w.err == nil) != (g.err == nil) || errors.Is(w.err, fs.ErrNotExist) != errors.Is(g.err,
			fs.ErrNotExist) ||
			(w.err == io.EOF) != (g.err == io.EOF) {
			t.Errorf("the system: %s: %v; here: %s: %v", w.what, w.err, g.what, g.err)
		}
	}
}
