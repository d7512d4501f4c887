package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"gimbal/internal/durable"
)

// TestHeld: a lock is told from what a crash or an end leaves, and asking changes nothing.
func TestHeld(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	if err := durable.Held(name); err != nil {
		t.Errorf("no file: %v", err)
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("asking made the file: %v", err)
	}
	l, err := durable.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var locked *durable.LockedError
	if err := durable.Held(name); !errors.Is(err, durable.ErrLocked) || !errors.As(err, &locked) ||
		locked.PID != os.Getpid() {
		t.Errorf("held: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := durable.Held(name); err != nil {
		t.Errorf("after its end: %v", err)
	}
	if err := os.WriteFile(name, before, 0o666); err != nil { // what a killed process leaves
		t.Fatal(err)
	}
	if err := durable.Held(name); err != nil {
		t.Errorf("after a crash: %v", err)
	}
	if after, err := os.ReadFile(name); err != nil || string(after) != string(before) {
		t.Errorf("asking changed the file to %q, %v", after, err)
	}
	if l, err = durable.Lock(name); err != nil {
		t.Fatalf("asking left the lock behind: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := durable.Held(dir); err == nil || errors.Is(err, durable.ErrLocked) {
		t.Errorf("a directory: %v", err)
	}
}
