package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Lines come back in their order, up to a bound, without what is no line, in a file that is private.
func TestLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state", "history")
	add := func(lines ...string) *Lines {
		t.Helper()
		l, err := OpenLines(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			l.Add(line)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return l
	}
	add("one", "two", "two", "", "thr\x1bee", "fo\nur", strings.Repeat("x", lineBytes+1), "five")
	if l := add(); l.Len() != 3 || l.At(0) != "five" || l.At(1) != "two" || l.At(2) != "one" {
		t.Errorf("%q", l.list)
	}
	if info, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if err := os.WriteFile(name, []byte("ok\n\x1b[31m\n\xff\n\nalso"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if l := add(); strings.Join(l.list, ",") != "ok,also" {
		t.Errorf("%q", l.list)
	}
	if info, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Error(info.Mode(), err)
	}
	var many []string
	for i := range 3 * mostLines {
		many = append(many, fmt.Sprint(i))
	}
	add(many...)
	add("last")
	if l := add(); l.Len() != mostLines || l.At(0) != "last" || l.At(1) != fmt.Sprint(3*mostLines-1) {
		t.Errorf("%d lines, %s", l.Len(), l.At(1))
	}
	if raw, err := os.ReadFile(name); err != nil || strings.Count(string(raw), "\n") != mostLines {
		t.Error(err, strings.Count(string(raw), "\n"))
	}
}

// A file that may be somebody else's is not written.
func TestLinesThroughNoLink(t *testing.T) {
	for _, link := range []func(from, to string) error{os.Symlink, os.Link} {
		dir := t.TempDir()
		other := filepath.Join(dir, "other")
		if err := os.WriteFile(other, []byte("text\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := link(other, filepath.Join(dir, "history")); err != nil {
			t.Skipf("no links here: %v", err)
		}
		if _, err := OpenLines(filepath.Join(dir, "history")); !errors.Is(err, ErrLink) {
			t.Errorf("through a link: %v", err)
		}
		if info, err := os.Stat(other); err != nil || info.Mode().Perm()&0o044 == 0 && runtime.GOOS != "windows" {
			t.Error("the mode of another file has changed")
		}
	}
}
